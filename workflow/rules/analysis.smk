# In:  records: {RESULTS}/runs, or the kept file in {RESULTS}/published.
# Out: summary/, tables/ and figures/ beside them.


rule publish:
    input:
        records=expand("{results}/runs/{cell}", results=RESULTS, cell=CELLS),
        counts=expand("{results}/data/{dataset}/counts.json", results=RESULTS, dataset=STUDY.datasets),
    output:
        records=PUBLISHED + "/records.jsonl.gz",
        counts=expand("{home}/data/{dataset}/counts.json", home=PUBLISHED, dataset=STUDY.datasets),
    log:
        RESULTS + "/logs/publish.log",
    benchmark:
        RESULTS + "/logs/publish.tsv"
    conda:
        "../../envs/fedrec.yaml"
    localrule: True
    shell:
        "fedrec pack {input.records:q} --output {output.records:q} 2> {log:q}"
        " && for dataset in {STUDY.datasets}; do"
        " cp {RESULTS:q}/data/$dataset/counts.json {PUBLISHED:q}/data/$dataset/counts.json; done"


rule summary:
    input:
        records,
    output:
        "{home}/summary/{block}.csv",
    params:
        block=block_json,
        report=STUDY.report,
        version=__version__,
    log:
        "{home}/logs/summary/{block}.log",
    benchmark:
        "{home}/logs/summary/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec summary {params.block:q} --records {input:q} --report {params.report}"
        " --output {output:q} 2> {log:q}"


rule attack_table:
    input:
        summary="{home}/summary/{block}.csv",
        paper="config/paper-values.csv",
    output:
        multiext("{home}/tables/{block}", ".csv", ".md", ".tex"),
    wildcard_constraints:
        block=blocks("attacks"),
    params:
        block=block_json,
        version=__version__,
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec table {params.block:q} --summary {input.summary:q} --paper {input.paper:q}"
        " --output {output[0]:q} 2> {log:q}"


rule dataset_table:
    input:
        counts=lambda w: [
            f"{w.home}/data/{dataset}/counts.json" for dataset in STUDY.tables[w.block].datasets
        ],
        paper="config/paper-values.csv",
    output:
        multiext("{home}/tables/{block}", ".csv", ".md", ".tex"),
    wildcard_constraints:
        block=blocks("datasets"),
    params:
        block=block_json,
        version=__version__,
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec dataset-table {params.block:q} --counts {input.counts:q} --paper {input.paper:q}"
        " --output {output[0]:q} 2> {log:q}"


rule figure:
    input:
        records,
    output:
        multiext("{home}/figures/{block}", ".pdf", ".png"),
    params:
        block=block_json,
        report=STUDY.report,
        version=__version__,
    log:
        "{home}/logs/figures/{block}.log",
    benchmark:
        "{home}/logs/figures/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec figure {params.block:q} --records {input:q} --report {params.report}"
        " --output {output[0]:q} 2> {log:q}"
