# Makes, once, the Python environment that the other scripts run in, and renews it when the project changes.
# Sourced, not run:  root=… ; . "$root/scripts/environment.sh" ; ensure_environment NAME [DEPENDENCY_GROUP]
# Sets $environment. GPUCERT_EXTRA=cuda13 (or cuda12 for Pascal and Volta) adds CuPy, once; it stays.
# Says what it does on standard error, so that standard output stays clean for --json.

say() { printf 'gpucert: %s\n' "$*" >&2; }

stop() {
  say "$*"
  exit 30
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# What the environment depends on: the project file, and which source files exist (their content is linked, not copied).
fingerprint() {
  (
    cd "$root" || exit
    printf '%s\n' "$root" "$1" "$(cat "$environment/.extra" 2>/dev/null)"
    cat pyproject.toml
    find src stress reports -type f ! -name '*.pyc' | LC_ALL=C sort
  ) | sha256sum | cut -d' ' -f1
}

explain_pip() {
  if grep -qiE 'no space left|disk quota' "$1"; then
    echo "the disk is full: free about 1 GB below $root and start again"
  elif grep -qiE 'name resolution|connection|timed out|temporary failure|network is unreachable|proxy|could not find a version|no matching distribution' "$1"; then
    echo "the package index cannot be reached: connect this machine, or set PIP_INDEX_URL, and start again (log: $1)"
  else
    echo "installing failed: the reason is at the end of $1; start again after mending it"
  fi
}

ensure_environment() {
  local group=${2:-} wanted python log extra
  environment=$root/$1
  mkdir -p "$environment" 2>/dev/null || stop "$root is not writable: copy the project to a folder of your own and start again"
  if [ -n "${GPUCERT_EXTRA:-}" ]; then printf '%s' "$GPUCERT_EXTRA" >"$environment/.extra"; fi
  wanted=$(fingerprint "$group") || stop "the source tree below $root is not readable"
  [ "$(cat "$environment/.ready" 2>/dev/null)" = "$wanted" ] && return

  exec 9>"$environment/.lock"
  flock -n 9 || { say "waiting for another start that is making the same environment"; flock 9; }
  [ "$(cat "$environment/.ready" 2>/dev/null)" = "$wanted" ] && { exec 9>&-; return; }

  log=$environment/install.log
  extra=$(cat "$environment/.extra" 2>/dev/null || true)
  extra=${extra:+[$extra]}
  if [ ! -e "$environment/.packages" ]; then
    python=$(find_python) || stop "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"
    say "first use: making an environment in $environment (about 500 MB, a minute or two)"
    # Without .packages an earlier start was interrupted: --clear begins again, and would also take the lock file along.
    find "$environment" -mindepth 1 -maxdepth 1 ! -name .lock ! -name .extra -exec rm -rf {} +
    "$python" -m venv "$environment" >"$log" 2>&1 ||
      stop "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv) and start again"
  else
    say "the project changed: renewing $environment"
    rm -f "$environment/.ready"
  fi
  if ! (
    cd "$root" &&
      "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' &&
      "$environment/bin/python" -m pip install --quiet --config-settings editable_mode=strict --editable ".$extra" ${group:+--group "$group"}
  ) >>"$log" 2>&1; then
    stop "$(explain_pip "$log")"
  fi
  touch "$environment/.packages"
  printf '%s\n' "$wanted" >"$environment/.ready"
  exec 9>&-
}
