"""What a person can do about the usual faults of connectors, told from their words. Pure."""

from __future__ import annotations

import re

# The first that fits is taken, so what is more particular stands first.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"certificate is not yet valid|certificate has expired|CERT_NOT_YET_VALID|CERT_HAS_EXPIRED",
        "A certificate is not valid at this host's time. Check the host's clock first, then the other side's certificate.",
    ),
    (
        r"RequestTimeTooSkewed|clock skew|Signature (not yet current|expired)|token used too early|"
        r"timestamp .{0,40}(outside|too far|in the future)",
        "The other side finds that the time of this host is wrong. Set the host's clock, then run it again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self[- ]signed certificate|unable to get local issuer",
        "The other side's certificate is not trusted here. Give its authority in the connector's settings, "
        "or install it on this host.",
    ),
    (
        r"No space left on device|ENOSPC|disk (is )?full|database or disk is full|disk quota exceeded|could not extend file",
        "A disk is full. Free some space, then run it again: it continues from the stored state.",
    ),
    (
        r"MemoryError|Cannot allocate memory|Out of memory|out of memory|std::bad_alloc|\bOOM\b|OutOfMemory",
        "The host has too little memory for it. Select fewer streams, lower its batch size, or give the host more memory.",
    ),
    (
        r"Config is missing required keys?|is a required property|Field required|missing required (setting|config|key)|"
        r"required (setting|config(uration)?|key)s? .{0,60}(missing|not (set|provided|found))",
        "A required setting is missing. Fill it in on the component's page.",
    ),
    (
        r"Additional properties are not allowed|is not of type|is not valid under any of the given schemas|"
        r"Record .{0,40}(does not|failed).{0,20}(schema|valid)|Failed validating",
        "A value does not fit its schema. Check the setting or the record that the message names.",
    ),
    (
        r"ModuleNotFoundError|No module named|ImportError|cannot import name|undefined symbol|cannot open shared object",
        "The plugin's environment lacks a package. Add it to the plugin's pip arguments, or choose another version.",
    ),
    (
        r"password authentication failed|Access denied for user|authentication failed|Authentication failed|"
        r"invalid (username|password|credential|login|api key|access token)|Login failed|Incorrect username or password|"
        r"InvalidAccessKeyId|SignatureDoesNotMatch|invalid_grant|invalid_client|Bad credentials|no password supplied|"
        r"wrong password|ORA-01017",
        "The other side refused the user or the password. Check both in the component's settings.",
    ),
    (r"\b401\b|Unauthorized", "The other side does not know who is asking (401). Check the key or the password in the settings."),
    (
        r"\b403\b|Forbidden|AccessDenied\b|permission denied for (schema|table|relation|database|sequence|view)|"
        r"must be owner of|insufficient.privilege",
        "The user is known but may not do this. Grant the right on the other side, or use another user.",
    ),
    (r"\b429\b|Too Many Requests|[Rr]ate limit", "The other side limits requests. Run it later, or less often."),
    (
        r"database is locked|Could not set lock on file|Conflicting lock",
        "Another process has the database file open. Close it there, then run it again.",
    ),
    (
        r"read-only database|readonly database|read-only mode|read only transaction|read-only transaction|cannot execute .{0,40}read-only",
        "The database may only be read. Give a database that can be written, or the right to write.",
    ),
    (
        r"no such table|(relation|table|view) .{0,200} does not exist|Table .{0,200} doesn't exist|UndefinedTable|Unknown table|"
        r"Invalid object name|NoSuchTable",
        "A table that it needs is not there. Check the schema and the table's name, or deselect its stream.",
    ),
    (
        r"database \S+ does not exist|Unknown database|schema \S+ does not exist|no such schema",
        "The database or the schema is not there. Check its name in the settings.",
    ),
    (
        r"Name or service not known|nodename nor servname|Temporary failure in name resolution|getaddrinfo failed|"
        r"could not translate host name|Failed to resolve|NameResolutionError|No address associated|ENOTFOUND|"
        r"Name does not resolve",
        "The host's name is not known. Check its spelling, and that this host can reach a name server.",
    ),
    (
        r"Connection refused|ECONNREFUSED|Can't connect to|actively refused",
        "Nothing answers at that address. Check host and port, and that the service runs.",
    ),
    (
        r"timed out|Timeout|ETIMEDOUT|No route to host|Network is unreachable|ConnectionReset|Connection reset by peer|"
        r"Connection aborted|server closed the connection|RemoteDisconnected",
        "The connection broke or was never made. Check network and firewall, then run it again.",
    ),
    (r"\b404\b|Not Found\b|NoSuchBucket|NoSuchKey", "What it asked for is not there (404). Check the address and the names in the settings."),
    (r"\b50[0-4]\b (Server|Internal|Bad|Service|Gateway)|Internal Server Error|Bad Gateway|Service Unavailable", "The other side failed by itself. Run it again later."),
    (
        r"Permission denied|PermissionError|EACCES|Operation not permitted",
        "The run's user may not read or write that file. Change its rights, or give a path inside the workspace.",
    ),
    (
        r"No such file or directory|FileNotFoundError|ENOENT|Is a directory|Not a directory",
        "A file is not where the settings say. Check the path: it begins in the workspace's files.",
    ),
    (
        r"JSONDecodeError|Expecting value: line|Unable to parse|invalid JSON|Invalid JSON",
        "It got something that is not JSON. Look at what the source, or the extractor, wrote last.",
    ),
    (r"UnicodeDecodeError|codec can't decode|invalid start byte|invalid byte sequence", "The text is not in the encoding that was expected. Set the encoding, or mend the source."),
    (r"\bKilled\b|SIGKILL|signal 9", "It was killed, most often because the host ran out of memory."),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), sentence) for pattern, sentence in _HINTS)


def hint_of(text: str) -> str:
    """What to do about a fault, as a sentence; "" where its words are none of the usual ones."""
    return next((sentence for pattern, sentence in _COMPILED if pattern.search(text)), "")
