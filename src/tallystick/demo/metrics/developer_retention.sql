-- ---
-- description = "Share of the people who committed in the bucket before and did so again in this one."
-- owner = "community@example.org"
-- tags = ["people"]
-- direction = "up"
-- sources = ["events"]
-- entities = ["artifact", "project", "collection"]
-- grains = ["month", "quarter", "year"]
-- ---
-- A bucket that follows one without any developers has no value; a bucket nobody came back to is 0. Whoever commits
-- to two repositories of a project comes back to the project by committing to either.
with active as (
  select distinct
    @metrics_sample_date(events.time) as bucket,
    events.event_source,
    events.to_artifact_id,
    events.from_artifact_id
  from events
  where events.event_type = 'COMMIT_CODE'
),
expected as (
  select
    case @time_aggregation
      when 'monthly' then active.bucket + interval '1 month'
      when 'quarterly' then active.bucket + interval '3 months'
      else active.bucket + interval '1 year'
    end as bucket,
    active.event_source,
    active.to_artifact_id,
    active.from_artifact_id
  from active
)
select
  cast(expected.bucket as date) as metrics_sample_date,
  expected.event_source,
  expected.to_artifact_id,
  '' as from_artifact_id,
  @metric_name() as metric,
  count(active.from_artifact_id) * 1.0 / count(*) as amount
from expected
left join active
  on active.bucket = expected.bucket
  and active.event_source = expected.event_source
  and active.to_artifact_id = expected.to_artifact_id
  and active.from_artifact_id = expected.from_artifact_id
group by 1, 2, 3, 4, 5
