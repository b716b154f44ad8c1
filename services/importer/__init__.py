"""The importer: fetches CSV files by SFTP, reads them, and hands their rows to the directory."""
