# Makes, once, the Python environment that the other scripts run in, and renews it when the project changes.
# Sourced, not run:  root=… ; . "$root/scripts/environment.sh" ; ensure_environment NAME [DEPENDENCY_GROUP]
# Sets $environment. GPUCERT_EXTRA=cuda13 (or cuda12 for Pascal and Volta) adds CuPy, once; it stays.
# Says what it does on standard error, so that standard output stays clean for --json.

say() { printf 'gpucert: %s\n' "$*" >&2; }

stop() {
  say "$*"
  exit 30
}

misused() {
  say "$*"
  exit 2
}

new_enough() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints a Python to make environments with. One that was named is taken or refused, never replaced by another.
find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" || misused "PYTHON=$PYTHON is no Python 3.11 or newer: name another one, or unset PYTHON"
    command -v "$PYTHON"
    return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  stop "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"
}

# What the environment depends on: the project file, and which source files exist (their content is linked, not copied).
fingerprint() {
  (
    cd "$root" || exit
    printf '%s\n' "$root" "$group" "$extra"
    cat pyproject.toml || exit
    find src stress reports -name '*.egg-info' -prune -o -name __pycache__ -prune -o -name '.*' -prune -o \
      -type f ! -name '*~' -print | LC_ALL=C sort
  ) | sha256sum | cut -d' ' -f1
}

# Where and with what the packages were installed: their scripts name this place, so that another one needs new ones.
place() { printf '%s\n' "$root" "$extra" "$(readlink -f "$environment/bin/python")"; }

is_current() {
  local links=("$root"/build/__editable__.gpucert-*/gpucert/__init__.py)
  [ "$(cat "$environment/.ready" 2>/dev/null)" = "$wanted" ] &&
    [ -x "$environment/bin/python" ] && [ -x "$environment/bin/gpucert" ] && [ -e "${links[0]}" ]
}

# Descriptor 9 is one lock for all environments of a tree, because they share build/. It is taken by Python, because
# flock(1) is not everywhere, and is held until 9 is closed, by children that outlive a killed start too.
take_lock() {
  "$python" -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | (fcntl.LOCK_NB if sys.argv[1] == "try" else 0))
except BlockingIOError:
    sys.exit(1)
except OSError:
    pass  # a file system without locks
' "$1" 2>/dev/null
}

nearly_full() { df -Pk "$1" 2>/dev/null | awk 'NR == 2 && $4 < 20480 { full = 1 } END { exit !full }'; }

# Why an installation failed, in one line, with the remedy.
explain_failure() {
  local temporary=${TMPDIR:-/tmp} said
  said=$(grep -aE '^ *(ERROR|error|Error):? ' "$log" 2>/dev/null | tail -n 1)
  if grep -qiE 'no space left|disk quota' "$log" 2>/dev/null || nearly_full "$environment" || nearly_full "$temporary"; then
    echo "the disk is full: free $(size) in $root and some in $temporary, and start again"
  elif grep -qiE "ensurepip is not available|no module named '?\"?(venv|ensurepip)" "$log"; then
    echo "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv) and start again"
  elif grep -qiE 'name resolution|name or service not known|connection|timed out|network is unreachable|proxyerror|from versions: none' "$log"; then
    echo "the package index cannot be reached: connect this machine, or set PIP_INDEX_URL, and start again (log: $log)"
  else
    echo "installing failed: ${said:-no reason was given}; mend that and start again (log: $log)"
  fi
}

# Empties a half-made environment, so that the next start begins anew and a full disk is not kept full.
sweep() { find "$environment" -mindepth 1 -maxdepth 1 ! -name .extra ! -name install.log -exec rm -rf {} + 2>/dev/null; }

size() { if [ -n "$extra" ]; then echo "about 1.5 GB"; else echo "about 500 MB"; fi; }

make_environment() {
  say "first use: making an environment in $environment ($(size), a minute or two)"
  sweep
  "$python" -m venv "$environment" >"$log" 2>&1 || give_up
}

# setuptools is installed beside the project, because a build environment of its own would need the index every time.
install_project() {
  cd "$root" || return
  export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
  "$environment/bin/python" -m pip install --quiet 'pip>=25.1' 'setuptools>=77' &&
    "$environment/bin/python" -m pip install --quiet --no-build-isolation --config-settings editable_mode=strict \
      --editable ".${extra:+[$extra]}" ${group:+--group "$group"}
}

give_up() {
  local reason
  reason=$(explain_failure)
  [ -e "$environment/.place" ] || sweep
  stop "$reason"
}

ensure_environment() {
  local group=${2:-} extra=${GPUCERT_EXTRA:-} wanted python log reason
  environment=$root/$1
  log=$environment/install.log
  case $extra in '' | cuda12 | cuda13) ;; *) misused "GPUCERT_EXTRA=$extra: it must be cuda12 (Pascal, Volta) or cuda13" ;; esac
  extra=${extra:-$(cat "$environment/.extra" 2>/dev/null)} || true
  wanted=$(fingerprint) || stop "the source tree below $root is not readable: get it again"
  if is_current; then return; fi

  reason=$({ mkdir -p "$environment" && : >>"$environment/.extra" && : >>"$root/.venv.lock"; } 2>&1) ||
    stop "$environment cannot be written (${reason##*: }): copy the project to a folder of your own, or free space there"
  python=$(find_python) || exit
  exec 9>>"$root/.venv.lock"
  trap 'say "interrupted; start again to go on"; exit 130' INT TERM
  take_lock try || { say "waiting for another start that is making an environment here"; take_lock wait; }
  if ! is_current; then
    renew
  fi
  trap - INT TERM
  exec 9>&-
}

renew() {
  rm -f "$environment/.ready"
  printf '%s' "$extra" >"$environment/.extra"
  if [ "$(cat "$environment/.place" 2>/dev/null)" = "$(place)" ]; then
    say "the project changed: renewing $environment"
    : >"$log"
  else
    make_environment
  fi
  (install_project) >>"$log" 2>&1 || give_up
  place >"$environment/.place" && printf '%s\n' "$wanted" >"$environment/.ready" || give_up
}
