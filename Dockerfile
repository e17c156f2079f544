# Serves what `denizen adapt` has made, on a CPU. Runs read-only, as a user without rights; see docs/deploying.md.
FROM python:3.12-slim AS built
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
# torch comes first and by itself; from the index of its CPU builds, where one is given, it takes a tenth of the room
ARG TORCH_INDEX=
RUN python -m venv /opt/denizen \
 && /opt/denizen/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
 && /opt/denizen/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,decoder,minilm]'

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin denizen
COPY --from=built /opt/denizen /opt/denizen
# nothing is fetched, and what libraries want to cache goes where compose.yaml has memory for it
ENV PATH=/opt/denizen/bin:$PATH HF_HUB_OFFLINE=1 HF_HOME=/tmp/huggingface XDG_CACHE_HOME=/tmp/cache PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["denizen"]
CMD ["serve", "/runs/served", "--host", "0.0.0.0"]
