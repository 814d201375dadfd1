#!/bin/sh
# Puts reports on a pull request, each as one comment that is written anew and not added to: it is found by its first line.
#
#   comment.sh NUMBER REPORT.md…       with the program gh, GH_TOKEN, and GITHUB_REPOSITORY (OWNER/NAME)
set -eu
number=$1
shift
for report in "$@"; do
  marker=$(head -n 1 "$report")
  # The first comment that begins with the same line. jq gets the marker as data, not as a program.
  found=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$number/comments" |
    jq -r --arg marker "$marker" '.[] | select(.body | startswith($marker)) | .id' | head -n 1)
  if [ -n "$found" ]; then
    gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" --field "body=@$report"
  else
    gh api --silent --method POST "repos/$GITHUB_REPOSITORY/issues/$number/comments" --field "body=@$report"
  fi
done
