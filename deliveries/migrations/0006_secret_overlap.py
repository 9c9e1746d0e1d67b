from django.db import migrations, models

import tenants.fields


class Migration(migrations.Migration):

    dependencies = [
        ('deliveries', '0005_turns'),
    ]

    operations = [
        migrations.AddField(
            model_name='statusendpoint',
            name='old_secret',
            field=tenants.fields.EncryptedTextField(blank=True, default='', editable=False),
        ),
        migrations.AddField(
            model_name='statusendpoint',
            name='old_secret_until',
            field=models.DateTimeField(editable=False, help_text='Until then the secret before signs as well.', null=True),
        ),
        migrations.AddIndex(
            model_name='statusendpoint',
            index=models.Index(models.F('old_secret_until'), condition=models.Q(('old_secret_until__isnull', False)), name='status_endpoint_rotating'),
        ),
    ]
