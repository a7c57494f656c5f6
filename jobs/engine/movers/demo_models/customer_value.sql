-- materialized: table
-- What each customer is worth: one row per customer, also those who never ordered.
with totals as (
    select
        customer_id,
        count(*) as orders,
        cast(sum(case when status = 'returned' then 0 else amount end) as decimal(18, 2)) as revenue,
        min(ordered_at) as first_order_at,
        max(ordered_at) as last_order_at
    from stg_orders
    group by customer_id
)

select
    c.customer_id,
    c.name,
    c.country,
    coalesce(t.orders, 0) as orders,
    coalesce(t.revenue, 0) as revenue,
    t.first_order_at,
    t.last_order_at,
    case
        when t.revenue >= 1000 then 'gold'
        when t.revenue >= 250 then 'silver'
        when t.revenue > 0 then 'bronze'
        else 'none'
    end as tier
from customers as c
left join totals as t on t.customer_id = c.customer_id
order by revenue desc, c.customer_id
