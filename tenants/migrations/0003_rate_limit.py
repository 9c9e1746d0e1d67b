from django.db import migrations, models

import tenants.throttling.limits


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_link_secret")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="rate_limit",
            field=models.CharField(
                blank=True,
                help_text="Requests, such as 600/minute or 50/second, or off. Empty: the installation's limit.",
                max_length=20,
                validators=[tenants.throttling.limits.validate_rate_limit],
            ),
        ),
    ]
