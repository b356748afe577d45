-- ---
-- description = "Active developers, written as a whole query: the same numbers as `active_developers`."
-- owner = "community@example.org"
-- tags = ["example"]
-- sources = ["events"]
-- entities = ["artifact", "project", "collection"]
-- grains = ["week", "month", "year"]
-- all_time = true
-- ---
-- Nobody is counted twice in a project, whichever of its repositories they work on, because the mapping is joined
-- below the aggregate and not on top of numbers per repository.
select
  @metrics_sample_date(events.time) as metrics_sample_date,
  events.event_source,
  events.to_artifact_id,
  '' as from_artifact_id,
  @metric_name() as metric,
  count(distinct events.from_artifact_id) as amount
from events
where
  events.event_type = 'COMMIT_CODE'
  and events.time between @metrics_start('TIMESTAMP') and @metrics_end('TIMESTAMP')
group by 1, 2, 3, 4, 5
