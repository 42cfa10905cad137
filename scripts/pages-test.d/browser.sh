# For scripts that open pages in a browser: sets `work`, a directory with the scripts beside this one and what they need, which
# is removed at the end; CHROMIUM names the browser.

for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is missing (Debian: apt-get install npm)" >&2; exit 1; }
done
CHROMIUM="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}"
[ -n "$CHROMIUM" ] || { echo "$0: chromium is missing (Debian: apt-get install chromium)" >&2; exit 1; }
export CHROMIUM

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp scripts/pages-test.d/*.mjs "$work/"
(cd "$work" && echo '{"private":true}' >package.json &&
  npm install --no-audit --no-fund --ignore-scripts --loglevel=error playwright-core@1.49.1 axe-core@4.10.2 >&2)
