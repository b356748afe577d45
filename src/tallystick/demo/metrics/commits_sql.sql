-- ---
-- description = "Commits, written as a whole query: the same numbers as `commits`."
-- owner = "maintainers@example.org"
-- tags = ["example"]
-- sources = ["events"]
-- entities = ["artifact", "project", "collection"]
-- grains = ["week", "month", "year"]
-- all_time = true
-- ---
-- The query is written once, for the lowest entity and without saying which time. The macros put in the bucket or
-- window of each model, and the mapping from repositories to projects and collections is joined where it is needed.
select
  @metrics_sample_date(events.time) as metrics_sample_date,
  events.event_source,
  events.to_artifact_id,
  '' as from_artifact_id,
  @metric_name() as metric,
  count(*) as amount
from events
where
  events.event_type = 'COMMIT_CODE'
  and events.time between @metrics_start('TIMESTAMP') and @metrics_end('TIMESTAMP')
group by 1, 2, 3, 4, 5
