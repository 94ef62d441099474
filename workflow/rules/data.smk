# In:  a dataset's entry in the config; the web, or FEDREC_MIRROR.
# Out: {RESULTS}/data/{dataset}/split.npz, and counts.json for the table of datasets.


rule download:
    output:
        protected(DOWNLOADS + "/{dataset}/{file}"),
    params:
        dataset=dataset_json,
    log:
        "logs/download/{dataset}/{file}.log",
    benchmark:
        "logs/download/{dataset}/{file}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    localrule: True
    shell:
        "fedrec download {params.dataset:q} --output {output:q} 2>&1 | tee {log:q} >&2"


rule interactions:
    input:
        raw_file,
    output:
        RESULTS + "/data/{dataset}/interactions.npz",
    params:
        dataset=dataset_json,
        version=__version__,
    log:
        RESULTS + "/logs/data/{dataset}/interactions.log",
    benchmark:
        RESULTS + "/logs/data/{dataset}/interactions.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec interactions {params.dataset:q} --raw {input:q} --output {output:q} 2> {log:q}"


rule filter:
    input:
        RESULTS + "/data/{dataset}/interactions.npz",
    output:
        interactions=RESULTS + "/data/{dataset}/filtered.npz",
        counts=RESULTS + "/data/{dataset}/counts.json",
    params:
        dataset=dataset_json,
        version=__version__,
    log:
        RESULTS + "/logs/data/{dataset}/filter.log",
    benchmark:
        RESULTS + "/logs/data/{dataset}/filter.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec filter {params.dataset:q} --input {input:q} --output {output.interactions:q}"
        " --counts {output.counts:q} 2> {log:q}"


rule split:
    input:
        RESULTS + "/data/{dataset}/filtered.npz",
    output:
        RESULTS + "/data/{dataset}/split.npz",
    params:
        version=__version__,
    log:
        RESULTS + "/logs/data/{dataset}/split.log",
    benchmark:
        RESULTS + "/logs/data/{dataset}/split.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec split --input {input:q} --output {output:q} 2> {log:q}"
