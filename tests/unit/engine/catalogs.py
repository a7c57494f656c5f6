"""Catalogs in the shapes that taps write them."""


def sdk():
    """As taps made with the SDK discover: metadata for every property, nested ones too."""
    return {
        "streams": [
            {
                "tap_stream_id": "users",
                "replication_method": "INCREMENTAL",
                "replication_key": "updated_at",
                "key_properties": ["id"],
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": ["integer", "null"]},
                        "name": {"type": ["string", "null"]},
                        "password": {"type": ["string", "null"]},
                        "updated_at": {"type": ["string", "null"], "format": "date-time"},
                        "address": {
                            "type": ["object", "null"],
                            "properties": {
                                "city": {"type": ["string", "null"]},
                                "zip": {"type": ["string", "null"]},
                                "geo": {"type": "object", "properties": {"lat": {"type": "number"}}},
                            },
                        },
                    },
                },
                "is_view": False,
                "stream": "users",
                "metadata": [
                    {"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}},
                    {"breadcrumb": ["properties", "name"], "metadata": {"inclusion": "available"}},
                    {"breadcrumb": ["properties", "password"], "metadata": {"inclusion": "available"}},
                    {"breadcrumb": ["properties", "updated_at"], "metadata": {"inclusion": "automatic"}},
                    {"breadcrumb": ["properties", "address"], "metadata": {"inclusion": "available"}},
                    {
                        "breadcrumb": [],
                        "metadata": {
                            "inclusion": "available",
                            "selected": True,
                            "table-key-properties": ["id"],
                            "forced-replication-method": "",
                        },
                    },
                ],
                "selected": True,
            },
            {
                "tap_stream_id": "user_groups",
                "key_properties": ["id"],
                "schema": {"properties": {"id": {"type": "integer"}, "title": {"type": "string"}}},
                "metadata": [
                    {"breadcrumb": [], "metadata": {"inclusion": "available"}},
                    {"breadcrumb": ["properties", "id"], "metadata": {"inclusion": "automatic"}},
                    {"breadcrumb": ["properties", "title"], "metadata": {"inclusion": "available"}},
                ],
            },
        ]
    }


def pipelinewise():
    """As pipelinewise-tap-postgres discovers: ids with dashes, no key_properties of its own, unsupported columns."""
    return {
        "streams": [
            {
                "table_name": "orders",
                "stream": "orders",
                "tap_stream_id": "public-orders",
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": ["integer"], "minimum": -2147483648, "maximum": 2147483647},
                        "total": {"type": ["null", "number"], "multipleOf": 0.01},
                        "shape": {},
                    },
                    "definitions": {"sdc_recursive_string_array": {"type": ["null", "string", "array"]}},
                },
                "metadata": [
                    {
                        "breadcrumb": [],
                        "metadata": {
                            "table-key-properties": ["id"],
                            "schema-name": "public",
                            "database-name": "shop",
                            "row-count": 3,
                            "is-view": False,
                        },
                    },
                    {
                        "breadcrumb": ["properties", "id"],
                        "metadata": {"sql-datatype": "integer", "inclusion": "automatic", "selected-by-default": True},
                    },
                    {
                        "breadcrumb": ["properties", "total"],
                        "metadata": {"sql-datatype": "numeric", "inclusion": "available", "selected-by-default": True},
                    },
                    {
                        "breadcrumb": ["properties", "shape"],
                        "metadata": {"sql-datatype": "point", "inclusion": "unsupported", "selected-by-default": False},
                    },
                ],
            }
        ]
    }


def legacy():
    """As taps from before metadata: `selected` and `inclusion` stand in the schema, and there is no list metadata."""
    return {
        "streams": [
            {
                "tap_stream_id": "messages",
                "stream": "messages",
                "key_properties": ["id"],
                "schema": {
                    "type": "object",
                    "selected": False,
                    "properties": {
                        "id": {"type": "string", "inclusion": "automatic"},
                        "body": {"type": "string", "inclusion": "available"},
                        "raw": {"type": "string", "inclusion": "unsupported"},
                    },
                },
            },
            {"tap_stream_id": "bare", "schema": {"properties": {"a": {"type": "string"}}}},
            {"tap_stream_id": "documents", "schema": {"type": "object", "properties": {}}, "metadata": []},
        ]
    }


def selected_of(catalog):
    """{stream: the attributes its metadata selects} of the selected streams."""
    found = {}
    for stream in catalog["streams"]:
        entries = {tuple(entry["breadcrumb"]): entry["metadata"] for entry in stream["metadata"]}
        if entries[()].get("selected"):
            found[stream["tap_stream_id"]] = {
                ".".join(crumb[1::2]) for crumb, values in entries.items() if crumb and values.get("selected")
            }
    return found
