include: "workflow/Snakefile"


workflow.default_target = "reproduce-all"
