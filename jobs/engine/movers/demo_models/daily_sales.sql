-- materialized: table
-- Sales per day and category; what came back counts against the day it was ordered.
select
    ordered_on,
    category,
    count(*) as orders,
    count(distinct customer_id) as customers,
    cast(sum(quantity) as bigint) as items,
    cast(sum(case when status = 'returned' then 0 else amount end) as decimal(18, 2)) as revenue,
    cast(sum(case when status = 'returned' then 0 else margin end) as decimal(18, 2)) as margin,
    cast(sum(case when status = 'returned' then 1 else 0 end) as bigint) as returned_orders
from stg_orders
group by ordered_on, category
order by ordered_on, category
