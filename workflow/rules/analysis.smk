# In:  records: {RESULTS}/runs, or the kept file in {RESULTS}/published.
# Out: summary/, tables/ and figures/ beside them.


# Has no output, because a kept file must never be made again from runs that are long gone.
rule publish:
    input:
        records=expand("{results}/runs/{cell}", results=RESULTS, cell=CELLS),
        counts=expand(
            "{results}/data/{dataset}/counts.json",
            results=RESULTS,
            dataset=STUDY.datasets,
        ),
    log:
        f"{RESULTS}/logs/publish.log",
    benchmark:
        f"{RESULTS}/logs/publish.tsv"
    localrule: True
    conda:
        "../../envs/fedrec.yaml"
    params:
        folder=PUBLISHED,
    shell:
        "fedrec publish {input.records:q} --counts {input.counts:q} --folder {params.folder:q}"
        " 2> {log:q}"


rule summary:
    input:
        records,
    output:
        csv="{home}/summary/{block}.csv",
        sum="{home}/summary/{block}.csv.sha256",
    log:
        "{home}/logs/summary/{block}.log",
    benchmark:
        "{home}/logs/summary/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec summary {params.block:q} --records {input:q} --report {params.report}"
        " --output {output.csv:q} 2> {log:q}"


rule attack_table:
    input:
        summary="{home}/summary/{block}.csv",
        paper="config/paper-values.csv",
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    wildcard_constraints:
        block=blocks("attacks"),
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        version=__version__,
    shell:
        "fedrec table {params.block:q} --summary {input.summary:q} --paper {input.paper:q}"
        " --output {output.csv:q} 2> {log:q}"


rule dataset_table:
    input:
        counts=lambda w: [
            f"{w.home}/data/{dataset}/counts.json"
            for dataset in STUDY.tables[w.block].datasets
        ],
        paper="config/paper-values.csv",
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    wildcard_constraints:
        block=blocks("datasets"),
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        version=__version__,
    shell:
        "fedrec dataset-table {params.block:q} --counts {input.counts:q} --paper {input.paper:q}"
        " --output {output.csv:q} 2> {log:q}"


rule figure:
    input:
        records,
    output:
        pdf="{home}/figures/{block}.pdf",
        png="{home}/figures/{block}.png",
    log:
        "{home}/logs/figures/{block}.log",
    benchmark:
        "{home}/logs/figures/{block}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec figure {params.block:q} --records {input:q} --report {params.report}"
        " --output {output.pdf:q} 2> {log:q}"
