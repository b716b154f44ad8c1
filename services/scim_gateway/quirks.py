"""Name what identity providers do beside the standard, and the setting that cures it."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]
"""Takes the name of a quirk."""

QUIRKS = {
    "op_case": "op is written Add, Replace or Remove. Entra ID: add ?aadOptscim062020 to the tenant URL.",
    "boolean_as_text": 'true and false come as text, "True". Entra ID: add ?aadOptscim062020 to the tenant URL.',
    "boolean_as_word": 'true and false come as a number or as another word, 1 or "yes". Map it to "True" or "False".',
    "attribute_case": "an attribute's name has other capitals than its schema. Correct it in the attribute mapping.",
    "dotted_keys": "a replace without path has paths as its keys. Entra ID with ?aadOptscim062020 always does.",
    "remove_by_value": "a remove names by value what goes. Entra ID: add ?aadOptscim062020 to the tenant URL.",
    "manager_as_id": "manager is a bare id, a list or one of a list, not an object. Entra ID always does.",
    "unqualified_enterprise": "an enterprise attribute comes without its schema's URN. Map it with the URN in front.",
    "misspelt_enterprise_urn": "the enterprise schema is spelt …2.0User. Correct it in the attribute mapping.",
    "foreign_schema": "schemas names a schema that is not served. Entra ID does so for groups.",
    "empty_object": "an empty text clears an attribute that is no text. Entra ID always does.",
    "empty_text": "an empty text clears an attribute. Entra ID always does; send null, or leave the attribute out.",
    "absent_entry": "a value path names a value that is not there, so it is made. Entra ID always does.",
    "missing_schema": "schemas is missing, or does not name what the body holds. Ask the provider's support.",
    "id_in_value": "a change names the id among its values. Okta always does.",
    "bare_role": "a role is a bare text, not an object with value. Entra ID: map with AppRoleAssignmentsComplex.",
    "json_in_text": "a role is JSON in a text. Entra ID: map with SingleAppRoleAssignment, or AssertiveAppRole….",
    "foreign_members": "a member is named by a word that is no id, so nobody was added. Check the matching.",
    "bare_member_id": "a member is a bare id, not an object with value.",
    "unknown_attribute": "an attribute that no schema here has is ignored. Take it out of the attribute mapping.",
    "no_operations": "a PATCH has no operations and changes nothing. Entra ID's validator does so.",
}
