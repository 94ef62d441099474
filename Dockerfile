# The whole study in a container: docker build -t fedrec . && docker run --rm -v "$PWD/results:/fedrec/results" fedrec
# For a GPU, choose a CUDA build of PyTorch (envs/torch.txt says how) and add `--gpus all`.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /fedrec
# What changes rarely comes first, so that an edit of the code does not install all again.
COPY Makefile pyproject.toml README.md ./
COPY envs envs
COPY fedrec/__init__.py fedrec/__init__.py
RUN make .venv/.installed
COPY . .
ENV PATH="/fedrec/.venv/bin:$PATH"
CMD ["make", "demo"]
