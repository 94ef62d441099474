# In:  a dataset's entry in the config; a local file, the web, or FEDREC_MIRROR.
# Out: {RESULTS}/data/{dataset}/split.npz; counts.json and repeats.json for the table of datasets;
#      filter.json, with what each pass of the filter dropped; groups.json for figures of victims.


rule download:
    output:
        protected(f"{DOWNLOADS}/{{dataset}}/{{file}}"),
    log:
        "logs/download/{dataset}/{file}.log",
    benchmark:
        "logs/download/{dataset}/{file}.tsv"
    localrule: True
    conda:
        "../../envs/fedrec.yaml"
    params:
        dataset=dataset_json,
    shell:
        "fedrec download {params.dataset:q} --output {output:q} 2>&1 | tee {log:q} >&2"


rule interactions:
    input:
        files("raw"),
    output:
        f"{RESULTS}/data/{{dataset}}/interactions.npz",
    log:
        f"{RESULTS}/logs/data/{{dataset}}/interactions.log",
    benchmark:
        f"{RESULTS}/logs/data/{{dataset}}/interactions.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        dataset=dataset_json,
        schema=SCHEMA,
        version=__version__,
    shell:
        "fedrec interactions {params.dataset:q} --raw {input:q} --output {output:q} 2> {log:q}"


rule filter:
    input:
        interactions=f"{RESULTS}/data/{{dataset}}/interactions.npz",
        lists=files("lists"),
    output:
        interactions=f"{RESULTS}/data/{{dataset}}/filtered.npz",
        counts=f"{RESULTS}/data/{{dataset}}/counts.json",
        passes=f"{RESULTS}/data/{{dataset}}/filter.json",
    log:
        f"{RESULTS}/logs/data/{{dataset}}/filter.log",
    benchmark:
        f"{RESULTS}/logs/data/{{dataset}}/filter.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        dataset=dataset_json,
        schema=SCHEMA,
        version=__version__,
    shell:
        "fedrec filter {params.dataset:q} --input {input.interactions:q} --lists {input.lists:q}"
        " --output {output.interactions:q} --counts {output.counts:q}"
        " --passes {output.passes:q} 2> {log:q}"


rule split:
    input:
        f"{RESULTS}/data/{{dataset}}/filtered.npz",
    output:
        split=f"{RESULTS}/data/{{dataset}}/split.npz",
        repeats=f"{RESULTS}/data/{{dataset}}/repeats.json",
    log:
        f"{RESULTS}/logs/data/{{dataset}}/split.log",
    benchmark:
        f"{RESULTS}/logs/data/{{dataset}}/split.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        version=__version__,
    shell:
        "fedrec split --input {input:q} --output {output.split:q} --repeats {output.repeats:q}"
        " 2> {log:q}"


rule groups:
    input:
        f"{RESULTS}/data/{{dataset}}/split.npz",
    output:
        f"{RESULTS}/data/{{dataset}}/groups.json",
    log:
        f"{RESULTS}/logs/data/{{dataset}}/groups.log",
    benchmark:
        f"{RESULTS}/logs/data/{{dataset}}/groups.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        pool=lambda w: whole_study().protocol_part().settings()["pool"],
        repeats=lambda w: whole_study().protocol_part().settings()["repeat_targets"],
        version=__version__,
    shell:
        "fedrec groups --input {input:q} --pool {params.pool} --repeat-targets {params.repeats}"
        " --output {output:q} 2> {log:q}"
