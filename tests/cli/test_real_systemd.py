"""The real systemd runs the units that are printed: its user's manager, in namespaces of its own.

A fake shows that the right words are said; that systemd takes them for what they mean, only systemd
can show.
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from tests.workshop import Workshop, free_port

SYSTEMD = next(
    (path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(path).exists()),
    "",
)

# Nothing of this is seen outside: the mounts are private, and everything ends with the namespace.
BOOT = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd
fi
SYSTEMD --user > systemd.log 2>&1 &
for each in $(seq 100); do
    systemctl --user list-units > /dev/null 2>&1 && break
    sleep 0.1
done
show() { systemctl --user show app --value -p "$1"; }
until_it_is() {
    for each in $(seq 100); do [ "$(show $1)" = "$2" ] && break; sleep 0.1; done
    show $1
}
"""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or not SYSTEMD or shutil.which("unshare") is None,
        reason="needs root, for namespaces, and systemd",
    ),
]


def under_systemd(shop: Workshop, steps: str) -> list[str]:
    """Carry out steps in bash beside a running systemd; returns what they print."""
    script = BOOT.replace("SYSTEMD --user", f"{SYSTEMD} --user") + textwrap.dedent(steps)
    shop.write("steps.sh", script)
    ran = shop.run(
        *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
        *("bash", "steps.sh"),
        timeout=60,
        env={"SYSTEMD_UNIT_PATH": f"{shop.folder}/units:"},
    )
    log = shop.folder / "systemd.log"
    print(ran.stdout, ran.stderr, log.read_text() if log.exists() else "", sep="\n")
    return ran.stdout.splitlines()


def install(shop: Workshop, name: str, *arguments: str) -> None:
    """Print a unit and put it where systemd finds it."""
    ran = shop.ginkgo("unit", "--user", *arguments, "app.conf.py")
    assert ran.returncode == 0, ran.stderr
    text = re.sub("WatchdogSec=.*", "WatchdogSec=2s", ran.stdout)
    shop.write(f"units/{name}", text)


def test_a_daemon_lives_as_its_unit_says(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os, time
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.async_.sleep(0.5)

            def do_reload(self):
                end = time.monotonic() + 60
                while os.path.exists("block") and time.monotonic() < end:
                    pass
        """,
    )
    shop.write("app.conf.py", 'service = "app.App"\n')
    install(shop, "app.service")
    said = under_systemd(
        shop,
        """
        systemctl --user start app; echo "started $? $(show SubState): $(show StatusText)"
        systemctl --user reload app; echo "reloaded $?"
        sleep 3  # more than the watchdog waits
        echo "restarts $(show NRestarts)"
        echo 'stop_timeout = "long"' >> app.conf.py
        systemctl --user reload app
        for each in $(seq 50); do show StatusText | grep -q refused && break; sleep 0.1; done
        echo "refused: $(show StatusText)"
        sed -i '$d' app.conf.py
        touch block
        systemctl --user reload --no-block app
        echo "restarts $(until_it_is NRestarts 1)"
        rm block
        echo "again $(until_it_is SubState running)"
        systemctl --user stop app; echo "stopped $? $(show Result)"
        """,
    )
    assert said[0] == "started 0 running: Ready: 1 service"
    assert said[1] == "reloaded 0"
    assert said[2] == "restarts 0"
    assert said[3].startswith("refused: Reload refused, nothing has changed: ")
    assert said[4] == "restarts 1"  # by the watchdog: the loop was blocked
    assert said[5] == "again running"
    assert said[6] == "stopped 0 success"


def test_the_sockets_of_a_socket_unit_get_to_their_servers(shop: Workshop) -> None:
    port = free_port()
    shop.write(
        "app.py",
        """
        from ginkgo import Service, Setting
        from ginkgo.async_.gevent import StreamServer

        class App(Service):
            address = Setting("address", default="")

            def __init__(self):
                self.add_service(StreamServer(self.address, self.greet))

            def greet(self, connection, address):
                connection.sendall(b"hello\\n")
        """,
    )
    shop.write("app.conf.py", f'service = "app.App"\naddress = "127.0.0.1:{port}"\n')
    install(shop, "app.service")
    install(shop, "app.socket", "--socket")
    install(shop, "named.service", "--name", "named", "--set", "address=fd:web")
    named = shop.ginkgo(
        *("unit", "--user", "--socket", "--name", "named", "--set", "address=fd:web"),
        *("--listen", f"web=127.0.0.1:{port}", "app.conf.py"),
    )
    shop.write("units/named-web.socket", named.stdout)
    said = under_systemd(
        shop,
        f"""
        ask() {{ exec 9<> /dev/tcp/127.0.0.1/{port} && head -1 <&9; exec 9<&-; }}
        systemctl --user start app.socket
        ask
        systemctl --user stop app.socket app.service
        systemctl --user start named-web.socket
        ask
        systemctl --user stop named-web.socket named.service
        """,
    )
    assert said == ["hello", "hello"]
