# docker build -t dsh_jax . ; docker run --rm -v "$PWD/runs:/home/dsh/runs" dsh_jax \
#   train --config=configs/digits.py --workdir=runs/digits
# With a GPU: docker build --build-arg EXTRA=cuda12 … ; docker run --gpus=all …
FROM python:3.11-slim-bookworm
ARG EXTRA=""
WORKDIR /opt/dsh_jax
COPY requirements-encode.txt requirements-demo.txt ./
RUN pip install --no-cache-dir --requirement requirements-demo.txt
COPY setup.cfg pyproject.toml README.md ./
COPY dsh_jax dsh_jax
COPY experiments experiments
COPY configs configs
RUN pip install --no-cache-dir --no-deps . \
    && if [ -n "$EXTRA" ]; then pip install --no-cache-dir "dsh_jax[$EXTRA] @ file:///opt/dsh_jax" --constraint requirements-demo.txt; fi
RUN useradd --uid 1000 --create-home dsh && mkdir -p /home/dsh/runs && chown -R dsh /home/dsh
USER 1000
WORKDIR /home/dsh
ENTRYPOINT ["dsh"]
CMD ["--help"]
