"""Training with nnU-Net's own data loading: seconds an epoch, and how long each step waits for its batch.

    python scripts/gpu_report/epochs.py -o OUT/epochs.json --device cuda nnUNetTrainerDualAgg:3d_fullres

nnU-Net's folders have to be set, with the dataset 219 preprocessed. Of the 250 iterations of an epoch as many run as
--iterations says, after a warm-up; the models are kept in nnUNet_results.
"""

import math
import time
from statistics import median
from typing import Any

import torch
from common import parser, write
from nnunetv2.run.run_training import get_trainer_from_args

EPOCH = 250
WARM_UP = {"cuda": 10, "cpu": 1}  # compiling, choosing convolutions, filling the queues


def main() -> None:
    """Measure the trainers one after the other."""
    made = parser(__doc__)
    made.add_argument("trainers", nargs="+", metavar="TRAINER:CONFIGURATION")
    made.add_argument("--iterations", type=int, default=60)
    args = made.parse_args()
    torch.set_num_threads(1)  # as nnUNetv2_train does on CUDA
    found = {}
    for trainer in args.trainers:
        found[trainer] = measured(*trainer.split(":"), args.iterations, torch.device(args.device))
        print(trainer, found[trainer], flush=True)
    write(args.o, found)


def measured(name: str, configuration: str, iterations: int, device: torch.device) -> dict[str, Any]:
    """Seconds until the first step is done, of a step, of waiting for a batch, and of an epoch's 250 iterations."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.backends.cudnn.benchmark = True
    started = time.perf_counter()
    trainer = get_trainer_from_args("219", configuration, 0, name, device=device)
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    trainer.train_step(next(trainer.dataloader_train))
    first = time.perf_counter() - started
    waits, steps, losses = [], [], []
    for iteration in range(WARM_UP[device.type] + iterations):
        start = time.perf_counter()
        batch = next(trainer.dataloader_train)
        there = time.perf_counter()
        losses.append(float(trainer.train_step(batch)["loss"]))  # which waits for the device
        if iteration >= WARM_UP[device.type]:
            waits.append(there - start)
            steps.append(time.perf_counter() - there)
    trainer.on_train_end()  # saves checkpoint_final.pth, and ends the processes that load the data
    if not all(math.isfinite(loss) for loss in losses):
        raise SystemExit(f"{name}: the loss was not finite")
    return {
        "seconds_to_first_step": first,
        "step_seconds": median(steps),
        "wait_seconds": median(waits),
        "wait_share": sum(waits) / (sum(waits) + sum(steps)),
        "epoch_seconds": EPOCH * (sum(waits) + sum(steps)) / len(steps),
        "last_loss": losses[-1],
    }


if __name__ == "__main__":
    main()
