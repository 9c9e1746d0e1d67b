# syntax=docker/dockerfile:1
# One image for every service of docker-compose.yml. Nothing of it runs as root, and nothing writes outside /tmp and
# /var/lib/notifications.

FROM python:3.11-slim AS packages
COPY requirements/base.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r /tmp/base.txt \
    && /opt/venv/bin/pip uninstall --yes --quiet setuptools pip

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    PROMETHEUS_MULTIPROC_DIR=/var/lib/notifications/metrics
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin notifications \
    && install -d -o notifications -g notifications /var/lib/notifications/metrics
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/notifications
COPY . .
# These values exist for this one command; the settings are complete only with real ones.
RUN SECRET_KEY=only-while-the-image-is-built-000000000000000000000000 \
    ENCRYPTION_KEYS=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \
    ALLOWED_HOSTS=localhost DATABASE_URL=postgresql://none/none REDIS_URL=redis://none PROMETHEUS_MULTIPROC_DIR=/tmp/metrics \
    python manage.py collectstatic --no-input --verbosity 0 \
    && python -m compileall -q . \
    && rm -rf /tmp/metrics
USER notifications
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "deploy/healthcheck.py"]
CMD ["gunicorn", "--config", "deploy/gunicorn.conf.py", "config.wsgi"]
