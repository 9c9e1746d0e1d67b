from django.db import migrations

import tenants.fields
import tenants.models


def give_each_its_own(apps, schema_editor):
    for tenant in apps.get_model("tenants", "Tenant").objects.only("pk"):
        tenant.link_secret = tenants.models.new_token_secret()
        tenant.save(update_fields=["link_secret"])


class Migration(migrations.Migration):

    dependencies = [
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="link_secret",
            field=tenants.fields.EncryptedTextField(default="", editable=False),
            preserve_default=False,
        ),
        migrations.RunPython(give_each_its_own, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="tenant",
            name="link_secret",
            field=tenants.fields.EncryptedTextField(default=tenants.models.new_token_secret, editable=False),
        ),
    ]
