#!/usr/bin/env bash
# nnU-Net's whole life cycle with the dual aggregation network: the commands that a user types, on tiny images, with a
# check behind each. docs/life_cycle.md says what each step proves. It needs the extra "demo" (pip install ".[demo]").
#
#   scripts/life_cycle.sh WORK_FOLDER        a new folder; about 8 minutes on two processor cores
set -euo pipefail

work=${1:?"usage: scripts/life_cycle.sh WORK_FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)
case $work in *[[:space:]]*) echo "$work: no blanks, please; nnU-Net does not quote the paths it prints" >&2; exit 1 ;; esac
if [ -e "$work" ]; then echo "$work exists already; choose a new folder" >&2; exit 1; fi
mkdir -p "$work/logs"
work=$(cd "$work" && pwd)
printed=0 title="" started=$SECONDS

step() {  # step TITLE: a headline, and the time of the step before
    if [ -n "$title" ]; then printf '%5d s  %s\n' $((SECONDS - started)) "$title" >> "$work/times.txt"; fi
    title=$1 started=$SECONDS
    if [ -n "$title" ]; then printf '\n== %s\n' "$title"; fi
}
show() { printf '$'; printf ' %q' "$@"; printf '\n'; }
new_log() { printed=$((printed + 1)); log=$work/logs/$(printf %02d "$printed")-$1.log; }
failed() { tail -n 30 "$log"; echo "FAILED (all of its output: $log)" >&2; exit 1; }
run() { show "$@"; new_log "$1"; "$@" > "$log" 2>&1 || failed; }
both() {  # both COMMAND COMMAND: at the same time, as on two GPUs
    show $1; show $2
    new_log first; local one=$log; $1 > "$one" 2>&1 & local pid=$!
    new_log second; $2 > "$log" 2>&1 || failed
    log=$one; wait $pid || failed
}
refused() {  # refused SENTENCE COMMAND ...: the command fails and says so
    local sentence=$1; shift
    show "$@"; new_log "$1"
    if "$@" > "$log" 2>&1; then echo "FAILED: this should have been refused" >&2; exit 1; fi
    grep -Eq "$sentence" "$log" || { echo "FAILED: nothing like '$sentence' was said" >&2; failed; }
    printf '  refused: %s\n' "$(grep -E "$sentence" "$log" | tail -n 1 | cut -c 1-300)"
}
check() { python "$here/life_cycle/checks.py" "$@"; }

export nnUNet_raw=$work/nnUNet_raw nnUNet_preprocessed=$work/nnUNet_preprocessed nnUNet_results=$work/nnUNet_results
mkdir "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
nnUNet_extTrainer=$(nnUNetv2_dualagg path):$here/life_cycle/trainers
export nnUNet_extTrainer
# For tiny images and few cores: no more processes than needed, and threads that sleep while they wait for each other.
export nnUNet_def_n_proc=1 nnUNet_n_proc_DA=1 nnUNet_npp=0 nnUNet_nps=0 OMP_WAIT_POLICY=PASSIVE

ours=nnUNetTrainerTinyDualAgg default=nnUNetTrainerTiny cpu="-device cpu"
raw=$nnUNet_raw/Dataset219_iSeg2019 plans=$nnUNet_preprocessed/Dataset219_iSeg2019/nnUNetPlans.json
results=$nnUNet_results/Dataset219_iSeg2019 images=$nnUNet_raw/Dataset219_iSeg2019/imagesTs
model() { echo "$results/$1__nnUNetPlans__$2"; }

step "Data, plans, preprocessing"
run nnUNetv2_dualagg phantom -o "$work/phantom" --num_training 5 --num_testing 1 --spacing 6
run nnUNetv2_dualagg convert_iseg -i "$work"/phantom/iSeg-2019-{Training,Testing} -sites "$work/phantom/sites.csv" -d 219
run nnUNetv2_plan_and_preprocess -d 219 -c 2d 3d_fullres -npfp 1 -np 1 --verify_dataset_integrity
run nnUNetv2_dualagg add_configuration -d 219 -c 3d_tiny -patch_size 16 16 16 -batch_size 2 -features_per_stage 8 16 16

step "A training killed in its third epoch, and resumed"
fold_0=$(model $ours 3d_tiny)/fold_0
train="nnUNetv2_train 219 3d_tiny 0 -tr $ours --npz $cpu"
show $train
new_log killed
set -m  # a process group of its own, of which kill -9 leaves nothing, as when a cluster ends a job
$train > "$log" 2>&1 &
set +m
until grep -qs "Epoch 2" "$fold_0"/training_log_*.txt; do kill -0 $! || failed; sleep 0.1; done
show kill -9 -- -$!
kill -9 -- -$!
wait $! 2> /dev/null || true
if grep -qs "Epoch 3" "$fold_0"/training_log_*.txt; then echo "FAILED: the kill came too late" >&2; exit 1; fi
cp "$fold_0/checkpoint_best.pth" "$work/before.pth"
run $train --c
check resumed 4 "$work/before.pth" "$fold_0/checkpoint_final.pth"

step "Five folds of our network and of nnU-Net's default"
run nnUNetv2_train 219 3d_tiny 0 -tr $default --npz $cpu
for fold in 1 2 3 4; do
    train="nnUNetv2_train 219 3d_tiny $fold --npz $cpu -tr"
    both "$train $ours" "$train $default"
done
check folds 4 "$(model $ours 3d_tiny)"/fold_[0-4] "$(model $default 3d_tiny)"/fold_[0-4]

step "The best configuration"
run nnUNetv2_find_best_configuration 219 -c 3d_tiny -tr $ours $default -np 1
check best "$results/inference_information.json" $ours $default

step "Inference as inference_instructions.txt says"
instructed=$work/instructed
grep '^nnUNetv2_' "$results/inference_instructions.txt" > "$work/instructions.txt"
while read -r line; do
    line=${line//OUTPUT_FOLDER/$instructed/OUTPUT_FOLDER}
    line=${line//INPUT_FOLDER/$images}
    case $line in nnUNetv2_predict*) line="$line $cpu" ;; esac
    run $line < /dev/null
done < "$work/instructions.txt"
check predictions "$instructed/OUTPUT_FOLDER_PP" "$images" 0 1 2 3

step "Ensemble of both networks, five folds each"
for trainer in $ours $default; do
    run nnUNetv2_predict -i "$images" -o "$work/$trainer" -d 219 -c 3d_tiny -tr $trainer --save_probabilities $cpu
    check predictions "$work/$trainer" "$images" 0 1 2 3
done
run nnUNetv2_ensemble -i "$work/$ours" "$work/$default" -o "$work/ensemble" -np 1
check predictions "$work/ensemble" "$images" 0 1 2 3

step "Validation once more"
mv "$fold_0/validation" "$work/validation"
run nnUNetv2_train 219 3d_tiny 0 -tr $ours --val $cpu
check same "$work/validation" "$fold_0/validation"

step "A zip file, installed elsewhere"
run nnUNetv2_export_model_to_zip -d 219 -c 3d_tiny -tr $ours -o "$work/model.zip"
here_results=$nnUNet_results
export nnUNet_results=$work/elsewhere
mkdir "$nnUNet_results"
run nnUNetv2_install_pretrained_model_from_zip "$work/model.zip"
run nnUNetv2_predict -i "$images" -o "$work/predicted_elsewhere" -d 219 -c 3d_tiny -tr $ours -npp 1 -nps 1 $cpu
check same "$work/$ours" "$work/predicted_elsewhere"
export nnUNet_results=$here_results

step "2-D"
run nnUNetv2_train 219 2d 0 -tr $ours $cpu
check folds 4 "$(model $ours 2d)/fold_0"
run nnUNetv2_predict -i "$images" -o "$work/2d" -d 219 -c 2d -f 0 -tr $ours $cpu
check predictions "$work/2d" "$images" 0 1 2 3

step "Low resolution and cascade"
check add_cascade "$plans" 3d_tiny
run nnUNetv2_preprocess -d 219 -c 3d_lowres -np 1
run nnUNetv2_train 219 3d_lowres all -tr $ours $cpu  # validates, and so predicts for the cascade, every case
check folds 4 "$(model $ours 3d_lowres)/fold_all"
run nnUNetv2_train 219 3d_cascade_fullres 0 -tr $ours $cpu
check folds 4 "$(model $ours 3d_cascade_fullres)/fold_0"
run nnUNetv2_predict -i "$images" -o "$work/lowres" -d 219 -c 3d_lowres -f all -tr $ours $cpu
run nnUNetv2_predict -i "$images" -o "$work/cascade" -d 219 -c 3d_cascade_fullres -f 0 -tr $ours $cpu \
    -prev_stage_predictions "$work/lowres"
check predictions "$work/cascade" "$images" 0 1 2 3
check background_known "$work/cascade" "$images"  # although the low resolution paints beyond it

step "One modality, thick slices, regions"
run nnUNetv2_dualagg phantom -o "$work/thick" --num_training 5 --num_testing 1 --spacing 4 4 16
run nnUNetv2_dualagg convert_iseg -i "$work"/thick/iSeg-2019-{Training,Testing} -sites "$work/thick/sites.csv" -d 220 \
    -modalities T1
other=$nnUNet_preprocessed/Dataset220_iSeg2019_T1
check use_regions "$nnUNet_raw/Dataset220_iSeg2019_T1/dataset.json"
run nnUNetv2_plan_and_preprocess -d 220 -c 3d_fullres -npfp 1 -np 1 --verify_dataset_integrity
run nnUNetv2_dualagg add_configuration -d 220 -c 3d_tiny -patch_size 8 24 24 -batch_size 2 -features_per_stage 8 16 16
check anisotropic "$other/nnUNetPlans.json" 3d_tiny
run nnUNetv2_train 220 3d_tiny 0 -tr $ours $cpu
other=$nnUNet_results/Dataset220_iSeg2019_T1/${ours}__nnUNetPlans__3d_tiny
check folds 4 "$other/fold_0"
other_images=$nnUNet_raw/Dataset220_iSeg2019_T1/imagesTs
run nnUNetv2_predict -i "$other_images" -o "$work/regions" -d 220 -c 3d_tiny -f 0 -tr $ours $cpu
check predictions "$work/regions" "$other_images" 0 1 2 3

step "Pretrained weights"
run nnUNetv2_train 219 3d_tiny all -tr $ours $cpu -pretrained_weights "$fold_0/checkpoint_final.pth"
grep -q "Loading pretrained weights from file" "$log" || failed
check folds 4 "$(model $ours 3d_tiny)/fold_all"
refused "is for images with 1 input channel.*this dataset has 2" \
    nnUNetv2_train 219 3d_lowres 0 -tr $ours $cpu -pretrained_weights "$other/fold_0/checkpoint_final.pth"
refused "holds weights of another network, trained by $default" \
    nnUNetv2_train 219 3d_lowres 0 -tr $ours $cpu -pretrained_weights "$(model $default 3d_tiny)/fold_0/checkpoint_final.pth"

step "Devices"
for device in cuda mps; do
    if [ "$(python -c "import torch; print(torch.$device.is_available())")" = False ]; then
        refused "Error: .*(CUDA|NVIDIA|mps|MPS)" nnUNetv2_train 219 3d_lowres 0 -tr $ours -device $device
    fi
done
refused "DDP training.*only implemented for cuda devices" nnUNetv2_train 219 3d_lowres 0 -tr $ours $cpu -num_gpus 2

step ""
printf '\n'
cat "$work/times.txt"
printf '%5d s  in total; every check passed\n' "$SECONDS"
