"""What the libraries say of a request, in the words of whoever reads it in the identity provider's log."""

from __future__ import annotations

import pytest

from services.scim_gateway.wording import worded


@pytest.mark.parametrize(
    ("said", "scim_type", "told"),
    [
        ("Invalid JSON: expected value at line 1 column 2", "invalidSyntax", "The body is no JSON: expected value at "),
        ("EOF while parsing a value at line 1 column 0", "invalidSyntax", "The body is no JSON: EOF while parsing a "),
        ("Input should be a valid dictionary or instance of X[Y]", "invalidSyntax", "The body must be a JSON object."),
        ("Input should be an object: emails[0]", "invalidValue", "emails[0]: must be an object."),
        ("Value error, 'attributes' and 'excluded_attributes' clash", "invalidValue", "'attributes' and 'excludedAttr"),
        ("operations attribute is required", "invalidValue", "Operations: is required, and missing, null or empty."),
        ("invalid syntax at column 3", "invalidPath", "A path cannot be read: invalid syntax at column 3."),
        ("No SCIM endpoint at '/Users/a/b'", None, "Nothing is served at /Users/a/b. Check the base URL"),
        (
            "Field 'emails' has 2 items marked as primary, but only one is allowed per RFC 7643",
            None,
            "emails: 2 of the ",
        ),
        ("Input should be a valid array: emails", "invalidValue", "emails: must be a list."),
        ("'id' is read-only", "mutability", "id: cannot be changed"),
        ("'value' is immutable", "mutability", "value: cannot be changed"),
        (
            "the value of a remove must be non-empty objects, on a path without a filter",
            "invalidValue",
            "A removal says in its path",
        ),
        ("Cannot sort on 'colour'", "invalidPath", "sortBy: colour is nothing to sort by."),
        ("Failed to update. Resource has changed on the server", None, "The resource has changed since"),
        ("A sentence of ours: it stays.", "invalidFilter", "A sentence of ours: it stays."),
        ("", None, ""),
    ],
)
def test_a_detail_is_a_sentence_that_names_the_attribute(said, scim_type, told):
    assert worded(said, scim_type).startswith(told)
    assert worded(said, scim_type).endswith("." if said else "")
