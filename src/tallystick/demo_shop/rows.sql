-- The rows of the shop: 35 days up to 2026-06-30, made by arithmetic alone, so that they are the same everywhere.
-- `spread(n)` scatters whole numbers evenly over [0, 1): any run of them fills it without clumps.

CREATE OR REPLACE MACRO spread(n) AS (n * 0.6180339887498949) % 1.0;

CREATE OR REPLACE TABLE users AS
SELECT
  'u' || lpad(i::VARCHAR, 4, '0') AS user_id,
  TIMESTAMP '2026-01-01' + INTERVAL (floor(spread(i) * 180 * 24)::BIGINT) HOUR AS signed_up_at,
  ['DE', 'DE', 'DE', 'FR', 'FR', 'NL'][1 + i % 6] AS country,
  ['free', 'free', 'plus'][1 + (i // 6) % 3] AS plan
FROM range(4000) AS numbers(i);

-- How busy an hour is, and which share of its visits ends with a purchase: a daily ripple, busier at weekends, and a
-- conversion that climbs over the last seven days.
CREATE OR REPLACE TEMP TABLE hours AS
SELECT
  h,
  TIMESTAMP '2026-05-26' + INTERVAL (h) HOUR AS hour_start,
  (240 + 110 * sin(2 * pi() * (h % 24 - 9) / 24) + CASE WHEN (h // 24) % 7 IN (4, 5) THEN 60 ELSE 0 END)::BIGINT AS visits,
  0.058 + 0.007 * sin(2 * pi() * (h % 24 - 12) / 24) + 0.036 * greatest(0, h - 28 * 24) / (7 * 24) AS conversion
FROM range(35 * 24) AS numbers(h);

CREATE OR REPLACE TEMP TABLE visits AS
SELECT
  h,
  k,
  hour_start + INTERVAL (floor(spread(h * 7 + k) * 3000)::BIGINT) SECOND AS happened_at,
  'u' || lpad(((h * 131 + k * 37 + k * k) % 4000)::VARCHAR, 4, '0') AS user_id,
  's' || h || '-' || k AS session_id,
  ['web', 'web', 'ios', 'android'][1 + (h + k) % 4] AS platform,
  floor((k + 1) * conversion) > floor(k * conversion) AS buys
FROM hours, range(visits) AS numbers(k);

CREATE OR REPLACE TABLE app_events AS
SELECT happened_at, user_id, session_id, platform, 'view' AS event, (20 + 400 * pow(spread(h + k * 3), 4))::INTEGER AS load_ms FROM visits
UNION ALL
SELECT happened_at + INTERVAL 4 MINUTE, user_id, session_id, platform, 'cart', (20 + 200 * spread(h + k))::INTEGER
FROM visits WHERE buys OR k % 5 = 0
UNION ALL
SELECT happened_at + INTERVAL 9 MINUTE, user_id, session_id, platform, 'purchase', (60 + 300 * spread(h * 3 + k))::INTEGER
FROM visits WHERE buys
ORDER BY happened_at, session_id, event;

CREATE OR REPLACE TABLE orders AS
SELECT
  'o' || h || '-' || k AS order_id,
  happened_at + INTERVAL 9 MINUTE AS created_at,
  visits.user_id,
  users.country,
  'EUR' AS currency,
  CASE WHEN (h * 3 + k) % 11 = 0 THEN 'cancelled' WHEN (h + k) % 17 = 0 THEN 'refunded' ELSE 'completed' END AS status,
  (CASE WHEN (h * 5 + k) % 97 = 0 THEN 900 ELSE 12 + 80 * spread(h * 13 + k) END)::DECIMAL(10, 2) AS amount
FROM visits JOIN users USING (user_id)
WHERE buys
ORDER BY created_at, order_id;
