# docker build -t faces .                                        for CPUs
# docker build -t faces --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 .
# docker run --shm-size=4g -v "$PWD/faces:/faces:ro" -v "$PWD/out:/out" faces report DATA=/faces          add --gpus=all
ARG BASE=python:3.12-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /pipeline
# Before the code, so that a change of the code does not install five gigabytes again.
COPY Makefile requirements.txt ./
RUN PIP_NO_CACHE_DIR=1 make .venv/ready
COPY . .
# requirements.txt came again, perhaps with a newer date: what is installed is what it says.
RUN touch .venv/ready
ENV CACHE_DIR=/out/cache DATA_DIR=/out/data RUNS_DIR=/out/runs
VOLUME /out
ENTRYPOINT ["make"]
CMD ["help"]
