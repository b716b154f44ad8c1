#!/bin/sh
# Install what is asked for and all that it needs into a venv, each at the version and with a hash of requirements.lock.
#
#   install_locked.sh VENV REQUIREMENTS…     REQUIREMENTS: a pyproject.toml or a list, as `uv pip compile` takes them
#
# A package that is not in requirements.lock ends it, as does one whose hash is another. muster-protos is left to the
# caller, who has its wheel.
set -eu
venv=$1
shift
names=$(mktemp)
uv pip compile --quiet --python "$venv" --constraints requirements.lock --no-header --no-annotate --no-emit-index-url \
  --no-emit-package muster-protos --output-file "$names" "$@"
uv pip install --quiet --python "$venv" --require-hashes --constraints requirements.lock --requirements "$names"
rm "$names"
