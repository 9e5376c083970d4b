"""What real name servers are told, each in its own language: to serve on loopback and to leave the system alone."""

from pathlib import Path


def unbound_config(folder: Path, port: int, *server: str, stub: str = "", more: str = "") -> str:
    """For one that asks nobody but the server at `stub` (host:port), for example.org.

    `server` are further lines of the section of that name, `more` further sections.
    """
    lines = (
        f"interface: 127.0.0.1@{port}",
        'username: ""',
        'chroot: ""',
        f'directory: "{folder}"',
        'pidfile: ""',
        "use-syslog: no",
        "do-ip6: no",
        "num-threads: 1",
        'module-config: "iterator"',
        "do-not-query-localhost: no",
        "ip-ratelimit: 0",
        "max-udp-size: 4096",
    )
    zone = section("stub-zone", "name: example.org", f"stub-addr: {stub.replace(':', '@')}") if stub else ""
    return section("server", *lines, *server) + section("remote-control", "control-enable: no") + zone + more


def nsd_config(folder: Path, port: int, *server: str) -> str:
    """For one that serves example.org from example.org.zone in the folder; `server` as unbound's."""
    lines = (
        f"interface: 127.0.0.1@{port}",
        'username: ""',
        'chroot: ""',
        f'zonesdir: "{folder}"',
        f'zonelistfile: "{folder}/zone.list"',
        f'pidfile: "{folder}/nsd.pid"',
        f'xfrdfile: "{folder}/xfrd.state"',
        'database: ""',
        f'xfrdir: "{folder}"',
        'cookie-secret-file: ""',
        "server-count: 1",
        "rrl-ratelimit: 0",
        "ipv4-edns-size: 4096",
    )
    zone = section("zone", "name: example.org", "zonefile: example.org.zone")
    return section("server", *lines, *server) + section("remote-control", "control-enable: no") + zone


def section(name: str, *lines: str) -> str:
    """Of unbound's or NSD's."""
    return f"{name}:\n" + "".join(f"    {line}\n" for line in lines)


def over_tls(port: int, cert: str, key: str, *, kind: str = "tls-port") -> tuple[str, ...]:
    """Lines with which unbound or NSD speaks TLS too; `kind` says what is spoken over it."""
    return (
        f"interface: 127.0.0.1@{port}",
        f"{kind}: {port}",
        f'tls-service-pem: "{cert}"',
        f'tls-service-key: "{key}"',
    )


def dnsdist_config(port: int, *lines: str, upstream: str = "") -> str:
    """`upstream` is asked without being probed first."""
    servers = (f'newServer{{address="{upstream}"}}', "getServer(0):setUp()") if upstream else ()
    return "\n".join(('setSecurityPollSuffix("")', f'setLocal("127.0.0.1:{port}")', *servers, *lines, ""))


def coredns_config(where: str, *lines: str) -> str:
    """One block of a Corefile."""
    return "\n".join((f"{where} {{", "    bind 127.0.0.1", *(f"    {line}" for line in lines), "}", ""))


def bind_config(folder: Path, port: int, *options: str, more: str = "") -> str:
    """`more` are further statements, zones for example."""
    lines = (
        f'directory "{folder}"',
        "pid-file none",
        "session-keyfile none",
        f"listen-on port {port} {{ 127.0.0.1; }}",
        "listen-on-v6 { none; }",
        *options,
    )
    return "options {\n" + "".join(f"    {line};\n" for line in lines) + "};\ncontrols { };\n" + more
