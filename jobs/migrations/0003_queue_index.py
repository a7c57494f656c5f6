"""The queue's look for wake-ups, ten times a second, from an index: django-q2 makes none."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_initial"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]

    operations = [
        migrations.RunSQL(
            sql="CREATE INDEX jobs_queue_look ON django_q_ormq (key, lock)",
            reverse_sql="DROP INDEX jobs_queue_look",
        ),
    ]
