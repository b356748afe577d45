-- ---
-- description = "Releases, written as a whole query: the same numbers as `releases`."
-- owner = "maintainers@example.org"
-- tags = ["example"]
-- sources = ["events"]
-- entities = ["artifact", "project", "collection"]
-- grains = ["week", "month", "year"]
-- all_time = true
-- ---
-- See commits_sql.sql for what the macros do.
select
  @metrics_sample_date(events.time) as metrics_sample_date,
  events.event_source,
  events.to_artifact_id,
  '' as from_artifact_id,
  @metric_name() as metric,
  count(*) as amount
from events
where
  events.event_type = 'RELEASE_PUBLISHED'
  and events.time between @metrics_start('TIMESTAMP') and @metrics_end('TIMESTAMP')
group by 1, 2, 3, 4, 5
