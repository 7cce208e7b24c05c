#!/usr/bin/env bash
# Chromium, for the tests that use pages as a browser does (Debian and its kin; needs root to install it).
#
# Without it those tests are skipped; with PILEUS_REQUIRE_CHROMIUM=1 they fail.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
    if found=$(command -v "$name"); then
        echo "Chromium is installed: $found"
        exit
    fi
done
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium
echo "Chromium is installed: $(command -v chromium)"
