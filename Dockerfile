# damgan in a container: the page of `damgan paint` by default, any other command if one is given.
#
#   docker build -t damgan .                                                     # CPU
#   docker build -t damgan --build-arg TORCH=https://download.pytorch.org/whl/cu128 .
#   docker run -p 127.0.0.1:7860:7860 -e DAMGAN_TOKEN=... -v "$PWD/photos:/photos" damgan
#   docker run --user "$(id -u):$(id -g)" -v "$PWD:/data" damgan inpaint /data/photos --mask /data/masks -o /data/filled
FROM python:3.12-slim

ARG TORCH=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH" torch torchvision

COPY pyproject.toml README.md LICENSE /build/
COPY damgan_cli /build/damgan_cli
COPY weights /build/weights
RUN pip install --no-cache-dir "/build[page,text,heif]" && rm -rf /build

# a Space of Hugging Face runs as user 1000
RUN useradd --uid 1000 --create-home damgan
USER damgan
WORKDIR /home/damgan
ENV XDG_CACHE_HOME=/tmp/cache HF_HOME=/tmp/cache/huggingface

EXPOSE 7860
ENTRYPOINT ["damgan"]
CMD ["paint", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
