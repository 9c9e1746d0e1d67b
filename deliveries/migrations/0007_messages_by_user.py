import django.db.models.fields.json
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deliveries', '0006_secret_overlap'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='statusmessage',
            index=models.Index(models.F('tenant'), django.db.models.fields.json.KeyTextTransform('userId', 'payload'), name='status_message_by_user'),
        ),
    ]
