"""The notifier: follows the event stream and mails reports."""
