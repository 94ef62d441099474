# In:  records: {RESULTS}/runs, or the published file in {RESULTS}/published.
# Out: summary/, tables/ and figures/ next to them; in {RESULTS}/so-far, those of the existing records.


# Has no output, so that a published file is never made again from runs that no longer exist.
rule publish:
    input:
        records=all_records,
        counts=expand(
            "{results}/data/{dataset}/{statistics}.json",
            results=RESULTS,
            dataset=used_datasets(),
            statistics=["counts", "filter", "repeats"],
        )
        + expand(f"{RESULTS}/data/{{dataset}}/groups.json", dataset=grouped_datasets()),
        switches=f"{RESULTS}/data/switches.json",
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
        "fedrec publish {input.records:q} --counts {input.counts:q} --switches {input.switches:q}"
        " --folder {params.folder:q} 2> {log:q}"


rule switches:
    output:
        f"{RESULTS}/data/switches.json",
    log:
        f"{RESULTS}/logs/switches.log",
    benchmark:
        f"{RESULTS}/logs/switches.tsv"
    localrule: True
    conda:
        "../../envs/fedrec.yaml"
    params:
        switches=lambda w: json.dumps(
            [s.model_dump() for s in whole_study().switches()]
        ),
    shell:
        "printf '%s\\n' {params.switches:q} > {output:q} 2> {log:q}"


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
        cells=lambda w: cells(w.block),
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec summary --records {input:q} --cells {params.cells:q} --report {params.report}"
        " --output {output.csv:q} 2> {log:q}"


rule attack_table:
    input:
        summary="{home}/summary/{block}.csv",
        paper=beside("config/paper-values.csv"),
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
        html=report(
            "{home}/tables/{block}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=title,
        ),
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
        note=NOTE,
        version=__version__,
    shell:
        "fedrec table {params.block:q} --summary {input.summary:q} --paper {input.paper:q}"
        " {params.note:q} --output {output.csv:q} 2> {log:q}"


rule dataset_table:
    input:
        counts=statistics("counts"),
        repeats=statistics("repeats"),
        paper=beside("config/paper-values.csv"),
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
        html=report(
            "{home}/tables/{block}.html",
            caption="../report/datasets.rst",
            category="Tables",
            labels=title,
        ),
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
        note=NOTE,
        version=__version__,
    shell:
        "fedrec dataset-table {params.block:q} --counts {input.counts:q} --repeats {input.repeats:q}"
        " --paper {input.paper:q} {params.note:q} --output {output.csv:q} 2> {log:q}"


rule deviation_table:
    input:
        records=records,
        switches=switches,
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
        html=report(
            "{home}/tables/{block}.html",
            caption="../report/deviations.rst",
            category="Tables",
            labels=title,
        ),
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    wildcard_constraints:
        block=blocks("deviations"),
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        note=NOTE,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec deviations {params.block:q} --records {input.records:q}"
        " --switches {input.switches:q} --report {params.report} {params.note:q}"
        " --output {output.csv:q} 2> {log:q}"


rule leaderboard:
    input:
        records,
    output:
        csv="{home}/tables/{block}.csv",
        shown=multiext("{home}/tables/{block}", ".md", ".tex"),
        html=report(
            "{home}/tables/{block}.html",
            caption="../report/leaderboard.rst",
            category="Tables",
            labels=title,
        ),
    log:
        "{home}/logs/tables/{block}.log",
    benchmark:
        "{home}/logs/tables/{block}.tsv"
    wildcard_constraints:
        block=blocks("leaderboard"),
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        cells=lambda w: cells(w.block),
        note=NOTE,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec leaderboard {params.block:q} --records {input:q} --cells {params.cells:q}"
        " --report {params.report} {params.note:q} --output {output.csv:q} 2> {log:q}"


rule figure:
    input:
        records=records,
        groups=groups,
    output:
        pdf="{home}/figures/{block}.pdf",
        png="{home}/figures/{block}.png",
        svg=report(
            "{home}/figures/{block}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=title,
        ),
    log:
        "{home}/logs/figures/{block}.log",
    benchmark:
        "{home}/logs/figures/{block}.tsv"
    wildcard_constraints:
        block="|".join(map(re.escape, STUDY.figures)) or "none",
    conda:
        "../../envs/fedrec.yaml"
    params:
        block=block_json,
        cells=lambda w: cells(w.block),
        note=NOTE,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec figure {params.block:q} --records {input.records:q} --cells {params.cells:q}"
        " --groups {input.groups:q} --report {params.report} {params.note:q}"
        " --output {output.pdf:q} 2> {log:q}"


rule claims:
    input:
        records=all_records,
        counts=statistics("counts"),
        claims=beside(CARD.file),
    output:
        csv="{home}/tables/claims.csv",
        shown=multiext("{home}/tables/claims", ".md", ".tex"),
        html=report(
            "{home}/tables/claims.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"name": "Scorecard"},
        ),
        pdf="{home}/figures/claims.pdf",
        png="{home}/figures/claims.png",
        svg=report(
            "{home}/figures/claims.svg",
            caption="../report/claims.rst",
            category="Claims",
            labels={"name": "Verdicts"},
        ),
        secondary=multiext("{home}/tables/secondary", ".csv", ".md", ".tex"),
        secondary_html=report(
            "{home}/tables/secondary.html",
            caption="../report/secondary.rst",
            category="Claims",
            labels={"name": "By other measures"},
        ),
        appendix=multiext("{home}/tables/appendix", ".csv", ".md", ".tex"),
        appendix_html=report(
            "{home}/tables/appendix.html",
            caption="../report/appendix.rst",
            category="Claims",
            labels={"name": "Artifact appendix"},
        ),
    log:
        "{home}/logs/claims.log",
    benchmark:
        "{home}/logs/claims.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        card=CARD.model_dump_json(),
        note=NOTE,
        config=OTHER_CONFIG,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec claims --claims {input.claims:q} --scorecard {params.card:q}"
        " --records {input.records:q} --counts {input.counts:q} --report {params.report}"
        " {params.note:q} --output {output.csv:q} --picture {output.pdf:q}"
        " --secondary {output.secondary[0]:q} --appendix {output.appendix[0]:q}"
        " --config {params.config:q} 2> {log:q}"


rule numbers:
    input:
        records=all_records,
        paper=beside("config/paper-values.csv"),
    output:
        csv="{home}/tables/numbers.csv",
        shown=multiext("{home}/tables/numbers", ".md", ".tex"),
        html=report(
            "{home}/tables/numbers.html",
            caption="../report/numbers.rst",
            category="Claims",
            labels={"name": "The paper's numbers"},
        ),
        pdf="{home}/figures/numbers.pdf",
        png="{home}/figures/numbers.png",
        svg=report(
            "{home}/figures/numbers.svg",
            caption="../report/numbers.rst",
            category="Claims",
            labels={"name": "The paper's numbers, drawn"},
        ),
    log:
        "{home}/logs/numbers.log",
    benchmark:
        "{home}/logs/numbers.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        card=CARD.model_dump_json(),
        seeds=list(STUDY.seeds),
        note=NOTE,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec numbers --scorecard {params.card:q} --seeds {params.seeds} --records {input.records:q}"
        " --paper {input.paper:q} --report {params.report} {params.note:q}"
        " --output {output.csv:q} --picture {output.pdf:q} 2> {log:q}"


rule runs:
    input:
        all_records,
    output:
        csv="{home}/tables/runs.csv",
        shown=multiext("{home}/tables/runs", ".md", ".tex"),
        html=report(
            "{home}/tables/runs.html",
            caption="../report/runs.rst",
            category="Runs",
            labels={"name": "Runs"},
        ),
    log:
        "{home}/logs/runs.log",
    benchmark:
        "{home}/logs/runs.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        note=NOTE,
        report=STUDY.report,
        version=__version__,
    shell:
        "fedrec runs --records {input:q} --report {params.report} {params.note:q}"
        " --output {output.csv:q} 2> {log:q}"


# Made only if requested by name, and published: no record has the embeddings. It has no input, so that
# a checkout with newer files does not make it again.
rule pictures:
    output:
        f"{PUBLISHED}/pictures.json",
    log:
        f"{RESULTS}/logs/pictures.log",
    benchmark:
        f"{RESULTS}/logs/pictures.tsv"
    conda:
        "../../envs/fedrec.yaml"
    shell:
        "fedrec pictures headline --config config/demo.yaml --rounds 100 200 400"
        " --output {output:q} 2> {log:q}"


rule explorer:
    input:
        records=all_records,
        counts=statistics("counts"),
        claims=[beside(CARD.file)] if STUDY.claims else [],
        pictures=present([f"{PUBLISHED}/pictures.json"]),
    output:
        report(
            "{home}/explorer.html",
            caption="../report/explorer.rst",
            category="Runs",
            labels={"name": "Results to explore"},
        ),
    log:
        "{home}/logs/explorer.log",
    benchmark:
        "{home}/logs/explorer.tsv"
    conda:
        "../../envs/fedrec.yaml"
    params:
        card=CARD.model_dump_json(),
        cells=list(CELLS),
        command=COMMAND,
        logs=lambda w: [] if w.home == PUBLISHED else ["--logs", f"{RESULTS}/logs/runs"],
        note=NOTE,
        report=STUDY.report,
        runs=f"{RESULTS}/runs",
        version=__version__,
    shell:
        "fedrec explorer --records {input.records:q} --cells {params.cells:q}"
        " --counts {input.counts:q} --claims {input.claims:q} --scorecard {params.card:q}"
        " --pictures {input.pictures:q} --report {params.report} {params.note:q} --runs {params.runs:q}"
        " --command {params.command:q} {params.logs:q} --output {output:q} 2> {log:q}"


rule configuration:
    output:
        report(
            "{home}/tables/configuration.html",
            caption="../report/configuration.rst",
            category="Runs",
            labels={"name": "Configuration"},
        ),
    log:
        "{home}/logs/configuration.log",
    benchmark:
        "{home}/logs/configuration.tsv"
    localrule: True
    conda:
        "../../envs/fedrec.yaml"
    params:
        config=lambda w: json.dumps(IN_FULL),
        note=NOTE,
        version=__version__,
    shell:
        "fedrec configuration {params.config:q} {params.note:q} --output {output:q}"
        " 2> {log:q}"
