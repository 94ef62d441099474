# In:  a split, and the settings of one cell (model, dataset, attack, defense, ratio, seed).
# Out: {RESULTS}/runs/{cell}, the record of that one training job. Until it exists, {cell}.checkpoint is
#      next to it. It is not an output, because Snakemake deletes outputs of a failed job. {cell}.ahead
#      is a record that another seed's job made, because `together` is 1 (docs/decisions/015).


rule train:
    input:
        lambda w: f"{RESULTS}/data/{cell_of(w).dataset}/split.npz",
    output:
        f"{RESULTS}/runs/{{cell}}",
    log:
        f"{RESULTS}/logs/runs/{{cell}}.log",
    benchmark:
        f"{RESULTS}/logs/runs/{{cell}}.tsv"
    conda:
        "../../envs/fedrec.yaml"
    threads: 1
    resources:
        device="auto",
        mem_mb=2000,
        runtime=60,
        # Resources, because a change of these does not cause new training.
        siblings=lambda w: ",".join(siblings(w.cell)),
        together=0,
    params:
        # Only the cell's own settings, so a changed constant re-runs only the cells that use it.
        cell=lambda w: whole_study().cell_config(cell_of(w)).to_json(),
        version=__version__,
    shell:
        "fedrec train {params.cell:q} --split {input:q} --output {output:q}"
        " --siblings={resources.siblings} --together {resources.together} --accept-divergence"
        " --threads {threads} --device {resources.device} 2> {log:q}"
