#!/bin/sh
# Reviews a change of hosts' files, as CI does: each file is checked, tested, planned against what it was, and rehearsed. No root, no host.
#
#   review.sh FILE…        one file for each host
#
# Settings, by environment:
#   BASIS      what to plan from (default: git:origin/main); `reconcile plan --basis`
#   FAIL_ON    what a plan may not do (default: nothing); `reconcile plan --fail-on`
#   REHEARSE   no: do not rehearse the plan
#   OUT        where reports go (default: network-review): for NAME.yaml, NAME.md, NAME.json, NAME.sarif, NAME.junit.xml
#   FORMAT     what is printed (default: github under GitHub Actions, else text)
#
# Ends with the exit code of the first thing that failed, after all files were looked at: see reconcile(8).
set -u
basis=${BASIS:-git:origin/main}
out=${OUT:-network-review}
format=${FORMAT:-${GITHUB_ACTIONS:+github}}
worst=0
mkdir -p "$out"

note() { [ "$worst" -ne 0 ] || worst=$1; }

for file in "$@"; do
  name=$(basename "$file" .yaml)
  set -- --basis "$basis" --format "${format:-text}" \
    --write "markdown=$out/$name.md" --write "json=$out/$name.json" --write "sarif=$out/$name.sarif"
  [ -z "${FAIL_ON:-}" ] || set -- "$@" --fail-on "$FAIL_ON"
  [ "${REHEARSE:-yes}" = no ] || set -- "$@" --rehearse
  echo "== $file" >&2
  reconcile plan -f "$file" "$@"
  code=$?
  note $code
  [ $code -ne 3 ] || continue # invalid: there is nothing to test
  if grep -q '^expect:' "$file"; then
    reconcile test -f "$file" --junit "$out/$name.junit.xml" >&2
    note $?
  fi
done

if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
  cat "$out"/*.md >>"$GITHUB_STEP_SUMMARY"
fi
exit "$worst"
