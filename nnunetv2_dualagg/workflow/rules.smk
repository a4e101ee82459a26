# The experiment that config.yaml describes, as jobs. Each job is a command that you could type yourself.
#
# Trainings take hours, and nothing here may throw them away:
# - A training counts as done by the last file that nnU-Net writes. Its checkpoints are not declared as outputs, since
#   Snakemake deletes the outputs of a failed job; every start passes --c, so that it goes on from a checkpoint.
# - What comes before training leaves a mark in done/ when it is complete. The marks are "ancient" for what follows: they
#   have to be there, but nothing is done again because one is newer. To do it again, remove the mark.
# Planning and preprocessing write to some files in common, so one such job runs at a time: see "planning" in the profile.
import os
import re
from pathlib import Path

from nnunetv2_dualagg.workflow.config import parse_config
from nnunetv2_dualagg.workflow.experiment import Experiment, pairs


configfile: "config.yaml"


experiment = Experiment(parse_config(config), Path.cwd())
os.environ.update(experiment.environment())
D, RAW, PRE = experiment.data.number, experiment.data.raw, experiment.data.preprocessed
THREADS = experiment.config.threads


wildcard_constraints:
    plans="|".join(experiment.plans),
    identifier=r"\w+",
    seed=r"\d+",
    fold=r"\d+",
    model="|".join(experiment.models),
    method="|".join(map(re.escape, experiment.methods)),
    ensemble="|".join(map(re.escape, experiment.config.ensembles)) or "none",


localrules:
    configuration,
    splits,


if experiment.data.is_phantom:

    rule phantom:
        output:
            touch("done/phantom"),
        log:
            "logs/phantom.log",
        params:
            options=experiment.data.phantom_options(),
        threads: THREADS.prepare
        shell:
            "nnUNetv2_dualagg phantom -o phantom {params.options} -np {threads} --overwrite &> {log:q}"


if not experiment.data.is_raw:

    rule convert:
        input:
            ancient("done/phantom" if experiment.data.is_phantom else experiment.data.source_folders()),
        output:
            touch("done/convert"),
        log:
            "logs/convert.log",
        params:
            command=lambda w, threads: experiment.data.convert_command(threads),
        threads: THREADS.prepare
        shell:
            "{params.command} &> {log:q}"


rule fingerprint:
    input:
        ancient(experiment.data.raw_ready()),
    output:
        touch("done/fingerprint"),
    log:
        "logs/fingerprint.log",
    threads: THREADS.prepare
    shell:
        "nnUNetv2_extract_fingerprint -d {D} --verify_dataset_integrity --clean -np {threads} --no_pbar &> {log:q}"


rule plan:
    input:
        ancient("done/fingerprint"),
    output:
        touch("done/plan/{plans}"),
    log:
        "logs/plan/{plans}.log",
    resources:
        planning=1,
    params:
        file=f"{PRE}/{{plans}}.json",
        command=lambda w: experiment.planning_command(w.plans),
    shell:
        # nnU-Net reads plans that are there, to keep what was added to them; those of a killed job may be incomplete.
        "python -m json.tool {params.file:q} > /dev/null 2>&1 || rm -f {params.file:q}; {params.command} &> {log:q}"


rule configuration:
    input:
        ancient("done/plan/{plans}"),
    output:
        touch("done/configuration/{plans}/{configuration}"),
    log:
        "logs/plan/{plans}_{configuration}.log",
    resources:
        planning=1,
    params:
        options=lambda w: experiment.configuration_options(w.configuration),
    shell:
        "nnUNetv2_dualagg add_configuration -d {D} -p {wildcards.plans:q} -c {wildcards.configuration:q} {params.options}"
        " &> {log:q}"


rule splits:
    input:
        ancient("done/fingerprint"),
    output:
        touch("done/splits"),
    log:
        "logs/splits.log",
    params:
        command=experiment.splits_command(),
    shell:
        "{params.command} &> {log:q}"


rule preprocess:
    input:
        ancient(lambda w: f"done/plan/{experiment.identifiers()[w.identifier][0]}"),
    output:
        touch("done/preprocess/{identifier}"),
    log:
        "logs/preprocess/{identifier}.log",
    resources:
        planning=1,
    params:
        plans=lambda w: experiment.identifiers()[w.identifier][0],
        configuration=lambda w: experiment.identifiers()[w.identifier][1],
    threads: THREADS.prepare
    shell:
        "nnUNetv2_preprocess -d {D} -plans_name {params.plans:q} -c {params.configuration:q} -np {threads} --no_pbar &> {log:q}"


rule train:
    input:
        ancient(lambda w: experiment.needed_to_train(w.model)),
    output:
        f"nnUNet_results/seed_{{seed}}/{experiment.data.name}/{{model}}/fold_{{fold}}/validation/summary.json",
    params:
        logs="logs/train/seed_{seed}/{model}",  # not declared: Snakemake would remove those of earlier attempts
        configuration=lambda w: experiment.models[w.model].configuration,
        arguments=lambda w: experiment.train_arguments(w.model),
        variables=lambda w, threads: experiment.thread_variables(threads),
        on_gpus=lambda w: experiment.on_gpus(w.model),
    threads: THREADS.train
    resources:
        gpu=lambda w: experiment.gpus(w.model),
    shell:
        "mkdir -p {params.logs:q}; {params.variables} {params.on_gpus} nnUNetv2_dualagg train -seed {wildcards.seed:q}"
        " {D} {params.configuration:q} {wildcards.fold:q} {params.arguments} --c &>> {params.logs:q}/fold_{wildcards.fold:q}.log"


rule predict:
    input:
        lambda w: experiment.trained_folds(w.method, w.seed),
        ancient(experiment.data.raw_ready()),
    output:
        directory("predictions/seed_{seed}/{method}"),
    log:
        "logs/predict/seed_{seed}/{method}.log",
    params:
        images=experiment.data.images(),
        options=lambda w: experiment.predict_options(w.method),
        on_gpus=experiment.on_gpus(),
        processes=lambda w, threads: max(1, threads // 2),
    threads: THREADS.predict
    resources:
        gpu=experiment.gpus(),
    shell:
        "rm -rf {output:q}.part; nnUNet_results=$nnUNet_results/seed_{wildcards.seed:q} {params.on_gpus} nnUNetv2_predict"
        " -i {params.images:q} -o {output:q}.part {params.options} -npp {params.processes} -nps {params.processes}"
        " &> {log:q} && mv {output:q}.part {output:q}"


rule ensemble:
    input:
        lambda w: [f"predictions/seed_{w.seed}/{member}" for member in experiment.config.ensembles[w.ensemble]],
    output:
        directory("predictions/seed_{seed}/{ensemble}"),
    log:
        "logs/ensemble/seed_{seed}/{ensemble}.log",
    threads: THREADS.predict
    shell:
        "rm -rf {output:q}.part; nnUNetv2_ensemble -i {input:q} -o {output:q}.part -np {threads} &> {log:q}"
        " && mv {output:q}.part {output:q}"


rule compare:
    input:
        experiment.all_predicted(),
        "config.yaml",  # methods may have been taken out
    output:
        directory("comparison"),
    log:
        "logs/compare.log",
    params:
        predictions=pairs(experiment.predictions()),
        references=experiment.data.references(),
        sites=["-sites", experiment.data.sites()] if experiment.data.sites() else [],
        tissues=experiment.tissue_options(),
        images=experiment.data.images(),
    threads: THREADS.compare
    shell:
        "nnUNetv2_dualagg compare -ref {params.references:q} {params.sites:q} -images {params.images:q} -o {output:q}"
        " {params.tissues:q}"
        " -np {threads} -pred {params.predictions} &> {log:q}"


rule compare_validation:
    input:
        experiment.all_trained(),
        "config.yaml",
    output:
        directory("comparison_validation"),
    log:
        "logs/compare_validation.log",
    params:
        predictions=pairs(experiment.validations()),
        options=experiment.validation_options(),
        images=RAW / "imagesTr",
    threads: THREADS.compare
    shell:
        "nnUNetv2_dualagg compare -ref {PRE:q}/gt_segmentations -djfile {PRE:q}/dataset.json -images {params.images:q}"
        " -o {output:q} {params.options:q} -np {threads} --skip-missing -pred {params.predictions} &> {log:q}"


rule curves:
    input:
        experiment.all_trained(),
        "config.yaml",
    output:
        directory("curves"),
    log:
        "logs/curves.log",
    params:
        models=pairs(experiment.fold_folders()),
    shell:
        "nnUNetv2_dualagg curves -i {params.models} -o {output:q} &> {log:q}"
