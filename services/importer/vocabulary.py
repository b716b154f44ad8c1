"""Give each word of the vocabulary that the importer says its sentence with the cure; no sentence names a person."""

from __future__ import annotations

_SENTENCES = {
    # Why a run ended
    "no_file": "There was no file at the path; check that the export ran and where it was uploaded.",
    "unstable_file": "The file was still being written at the third try; upload it as NAME.part, then rename it.",
    "truncated": "The file stops in the middle of a record; export and upload it again.",
    "empty_file": "The file has no rows; check the export and upload it again.",
    "too_large": "The file is over 512 MiB (or the source's own limit); split it over several sources.",
    "encoding_invalid": "Text cannot be decoded; export as UTF-8 or UTF-16 with a byte order mark.",
    "no_header": "The first row holds no known column name; put the header row first, such as UniqueID,Name,Mail.",
    "duplicate_header": "The column {detail} is there twice; leave only one of them in the export.",
    "missing_column": "The column {detail} is missing; add it, or name it so in the export.",
    "host_key_missing": "No host key is pinned for the server; `muster source test SOURCE --pin` shows and pins it.",
    "host_key_changed": "The server shows another host key than the pinned one; ask its owner before pinning that.",
    "connection_failed": "The SFTP server could not be reached; check host, port and firewall.",
    "login_failed": "The SFTP server did not accept the login; check user name, password or key.",
    "fetch_failed": "The file could not be read from the SFTP server; check path and permissions.",
    "interrupted": "The run was interrupted before it was planned; run the source again.",
    # The file as a whole
    "encoding_guessed": "The encoding had to be guessed; export as UTF-8, or as UTF-16 with a byte order mark.",
    "header_alias": "A header was read as {column}; name the column {column} in the export.",
    "unknown_column": "This column is not known and was ignored; leave it out of the export, or correct its name.",
    "stale_export": "The newest TimeStamp is older than 48 hours; check that the export still runs.",
    # Rows
    "column_count": "The row has more or fewer fields than the header; quote values that hold the delimiter.",
    "field_too_long": "{detail} is too long; shorten it to at most {limit}.",
    "id_missing": "UniqueID is empty; give every person one that never changes.",
    "id_length": "UniqueID has fewer than 10 or more than 256 characters; export one of an allowed length.",
    "id_damaged": "A spreadsheet has turned UniqueID into a number such as 1.23E+11; export the column as text.",
    "apostrophe_removed": "A leading apostrophe was dropped from {column}; export the column as text without it.",
    "invisible_removed": "Invisible characters around {column} were dropped; remove them in the source system.",
    "bidi_control_removed": "Characters that turn the text's direction were dropped from {column}; remove them there.",
    "control_character": "{column} holds a control character; remove it in the source system.",
    "mail_missing": "Mail is empty; give the person a mail address.",
    "mail_invalid": "Mail is not one plain address such as name@example.org; correct it in the source system.",
    "mail_mixed_script": "Mail mixes letters of several scripts that look alike; type it again in one script.",
    "name_missing": "Name is empty; fill Name, or FirstName and LastName.",
    "phone_invalid": "{column} is not a usable phone number and was left alone; write it as +46701234567.",
    "phone_national": "{column} is in national form; write it with + and the country code.",
    "skip_value": "Skip is neither 1, 0 nor empty, so the row was imported; write 1 to leave the person out.",
    "formula_like": "{column} begins like a spreadsheet formula; it was kept as text.",
}
_CAUSES = {
    # R2: the end marker
    "marker_absent": "There is no {marker} beside the file, so nobody knows whether it is whole; upload it last.",
    "sha256_unreadable": "{marker} holds no SHA-256; write it as `sha256sum {file} > {marker}` does.",
    "sha256_differs": "{marker} holds another SHA-256 than the file's, so one of them is not whole; upload both again.",
    "done_older": "{marker} is older than the file, left by an earlier upload; upload it anew after each file.",
    "eof_absent": "The last row is not #EOF with the number of rows, so the file may not be whole; upload it again.",
    "eof_differs": "The last row says {said} rows and {found} stand before it; export and upload the file again.",
    # R7, R13: of the header and the rows
    "columns": "The header has more than 64 columns; leave out of the export what Muster does not know.",
    "rows": "The file has more than 2,000,000 rows; split it over several sources.",
    "name_absent": "The column Name is missing; add it, or FirstName and LastName, which together may stand for it.",
    # R13: what stands where a header should
    "workbook": "The file is an Excel workbook or an archive, not a CSV file; save it as CSV UTF-8, and upload that.",
    "web_page": "The file is a web page or XML, not a CSV file; look at what the export wrote, and upload a CSV file.",
    "quoted_lines": "Quotes stand around whole lines, so each is one value; put them around single values, if at all.",
    "other_separator": "The first line says sep={separator}, and that does not part the header; correct that line.",
    # R3, R11: quotes
    "open_quote": "A quote opens in the row on line {line} and is never closed; export again, or double a stray quote.",
    "joined_lines": "A quote on line {first} joins the lines to line {last}, so none is read; double the quote.",
    # the way to the file
    "host_key_new": "No host key is pinned, and the server shows {shown}; ask its owner if it is theirs, and pin it.",
    "host_key_changed": "The server shows the key {shown}, and {pinned} is pinned; ask its owner before pinning that.",
    "no_such_host": "The SFTP server's name has no address; check the host.",
    "port_closed": "The SFTP server refuses connections at this port; check the port, and that the server runs.",
    "no_answer": "The SFTP server does not answer; check host, port and firewall.",
    "no_ssh": "What answers at this port does not speak SSH, or agrees on no cipher with us; check host and port.",
    "cut_at_login": "The SFTP server cut the connection during the login; check the user name, and ask its owner.",
    "key_unreadable": "The private key cannot be read; give an ed25519, RSA or ECDSA key in OpenSSH or PEM form.",
    "key_locked": "The private key is locked with a passphrase; give one without (`ssh-keygen -p -f KEY`).",
    "key_refused": "The SFTP server did not accept the key; check that its public half is authorized for this user.",
    "password_refused": "The SFTP server did not accept the password; check user name and password.",
    "nothing_to_log_in_with": "The source has neither password nor key; `muster source update` takes --key-file.",
    "no_sftp": "The server let us in and does not serve SFTP; ask its owner to allow it to this user.",
    "folder_absent": "There is no folder {folder} on the server; check the path.",
    "other_name": "There is no file at the path, but one called {near}; check the path, or the export's file name.",
    "only_twin": "Only {twin} is there, an upload under way; look again when it has been renamed.",
    "twin": "{twin} stands beside the file, so a run waits for its end, and refuses; delete it if nobody uploads.",
    "twin_stayed": "{twin} was still there at the third try; rename it when it is whole, or delete it.",
    "folder": "There is a folder at the path; name the file itself.",
    "forbidden": "The SFTP server does not let this user read the file; check permissions.",
    "stalled": "The SFTP server stopped answering in the middle, more than once; run the source again.",
    "cut": "The SFTP server cut the connection in the middle, more than once; run the source again.",
    "too_slow": "The SFTP server sends the file too slowly, and was given up; check the line to it.",
}
_LIMITS = {"Name": "256 characters", "Title": "256 characters"}


def sentence(code: str, column: str = "") -> str:
    """Say what to do about `code`, which may carry `:DETAIL`; KeyError for a word that is not the importer's."""
    word, _, detail = code.partition(":")
    limit = _LIMITS.get(detail, "64 KiB")
    return _SENTENCES[word].format(detail=detail, column=column, limit=limit)


def cause(name: str, **facts: str) -> str:
    """Say which cause of a word it was, and what to do about it; KeyError for one that is not known."""
    return _CAUSES[name].format(**facts)


def cause_and_cure(text: str) -> tuple[str, str]:
    """Part one of our sentences into what is wrong and what to do about it, each a sentence of its own."""
    wrong, _, cure = text.rstrip(".").partition("; ")
    return f"{wrong}.", f"{cure[:1].upper()}{cure[1:]}." if cure else ""
