#!/usr/bin/env bash
# What is to be known about a GPU, in one command: tests, speed, memory, kernels, prediction, data loading.
# docs/method.md ("On a GPU") says what each part measures. It needs the extra "demo" and pytest.
#
#   scripts/gpu_report.sh OUT                  one CUDA device; a second call goes on where it stopped
#   scripts/gpu_report.sh OUT cpu              the same parts at tiny sizes, to see that the script works
#   scripts/gpu_report.sh OUT cuda PART ...    some parts only
#
# Each part leaves OUT/PART.json and is skipped where that is there. Once GPU_REPORT_SECONDS (520; 3600 on a CPU) are
# over, no part begins any more: the next call does the rest. OUT/report.json has everything; commit it as
# docs/results/gpu_MACHINE.json. The exit code is 1 unless all parts are there.
set -uo pipefail

out=${1:?"usage: scripts/gpu_report.sh OUT [cuda|cpu] [PART ...]"}
device=${2:-cuda}
shift $(($# < 2 ? $# : 2))
wanted=" $* "
case $device in
    cuda) limit=${GPU_REPORT_SECONDS:-520} settings=("iseg" "resenc" "paper") repeats=7 iterations=60 slow=60
          plain=3d_fullres paper=3d_paper ;;
    cpu) limit=${GPU_REPORT_SECONDS:-3600} settings=("tiny" "tiny-resenc" "tiny-paper") repeats=2 iterations=2 slow=600
         plain=3d_tiny paper=3d_tiny ;;
    *) echo "the device is $device; expected cuda or cpu" >&2; exit 1 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/logs"
out=$(cd "$out" && pwd)
if [ "$(cat "$out/device" 2> /dev/null || echo "$device")" != "$device" ]; then
    echo "$out is of the device $(cat "$out/device"); choose another folder for $device" >&2
    exit 1
fi
echo "$device" > "$out/device"

work=$out/work
export nnUNet_raw=$work/nnUNet_raw nnUNet_preprocessed=$work/nnUNet_preprocessed nnUNet_results=$work/nnUNet_results
export nnUNet_extTrainer TORCHINDUCTOR_CACHE_DIR=$work/inductor  # so that no part compiles what another one has
nnUNet_extTrainer=$(nnUNetv2_dualagg path) || exit 1
mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
if [ "$device" = cpu ]; then export nnUNet_n_proc_DA=1 nnUNet_def_n_proc=1; fi

parts=()
part() {  # part NAME SECONDS COMMAND ...: writes OUT/NAME.json; "py X" is the module X of gpu_report/
    local name=$1 most=$2 left=$((limit - SECONDS)) started=$SECONDS code=0
    shift 2
    if [ "$1" = py ]; then set -- python "$here/gpu_report/$2.py" --device "$device" "${@:3}"; fi
    case $wanted in "  " | *" $name "*) ;; *) return ;; esac
    parts+=("$name")
    if [ -e "$out/$name.json" ]; then echo "$name: there already"; return; fi
    if [ "$left" -lt 5 ]; then echo "$name: no time left; call again"; return; fi
    echo "$name ..."
    timeout -k 10 $((most < left ? most : left)) "$@" > "$out/logs/$name.log" 2>&1 || code=$?
    printf '%s\t%d\t%d\n' "$name" $((SECONDS - started)) "$code" >> "$out/times.tsv"
}

part machine 60 py machine -o "$out/machine.json"
part data $((2 * slow)) bash "$here/gpu_report/data.sh" "$work" "$device" "$out/data.json"
part tests $((5 * slow)) py tests -o "$out/tests.json"
part step_3d_fullres $((5 * slow)) py steps -o "$out/step_3d_fullres.json" "${settings[0]}" --repeats $repeats
part kernels $slow py kernels -o "$out/kernels.json" "${settings[0]}"
part epochs $((4 * slow)) py epochs -o "$out/epochs.json" --iterations $iterations \
    nnUNetTrainer:$plain nnUNetTrainerDualAgg:$plain nnUNetTrainerDualAggSite:$plain
part volume_3d_fullres $((2 * slow)) py volume -o "$out/volume_3d_fullres.json" nnUNetTrainerDualAgg:$plain 0.5
part epochs_more $((3 * slow)) py epochs -o "$out/epochs_more.json" --iterations $iterations \
    nnUNetTrainerDualAggPaper:$paper nnUNetTrainerDualAggSynthetic:$plain
part volume_3d_paper $((2 * slow)) py volume -o "$out/volume_3d_paper.json" nnUNetTrainerDualAggPaper:$paper 0.25
part step_3d_paper $((2 * slow)) py steps -o "$out/step_3d_paper.json" "${settings[2]}" --repeats $repeats
part step_resenc_m $((3 * slow)) py steps -o "$out/step_resenc_m.json" "${settings[1]}" --repeats $repeats

python "$here/gpu_report/summary.py" "$out" "${parts[@]}"
