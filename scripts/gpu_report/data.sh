#!/usr/bin/env bash
# Made-up data for the report, below nnU-Net's folders: five brains in images of 256^3 voxels, preprocessed.
#
#   scripts/gpu_report/data.sh WORK_FOLDER DEVICE RESULT.json
set -euo pipefail
work=$1 device=$2 result=$3
here=$(cd "$(dirname "$0")" && pwd)
size="--size 256 256 256"
if [ "$device" = cpu ]; then size="--spacing 6"; fi
plans=$nnUNet_preprocessed/Dataset219_iSeg2019/nnUNetPlans.json
started=$SECONDS
nnUNetv2_dualagg phantom -o "$work/phantom" --num_training 5 --num_testing 0 $size --overwrite
phantom=$((SECONDS - started))
rm -rf "$nnUNet_raw/Dataset219_iSeg2019" "$nnUNet_preprocessed/Dataset219_iSeg2019"  # of a call that was cut off
nnUNetv2_dualagg convert_iseg -i "$work/phantom/iSeg-2019-Training" -d 219
nnUNetv2_plan_and_preprocess -d 219 -c 3d_fullres
if [ "$device" = cpu ]; then
    nnUNetv2_dualagg add_configuration -d 219 -c 3d_tiny -patch_size 16 16 16 -batch_size 2 -features_per_stage 8 16 16
fi
python "$here/add_paper.py" "$plans"
printf '{"seconds_of_phantom": %d, "seconds": %d}\n' $phantom $((SECONDS - started)) > "$result.part"
mv "$result.part" "$result"
