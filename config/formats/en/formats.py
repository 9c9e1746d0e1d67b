"""How the admin writes times: to the second and sortable, for who asks when a message went out."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
