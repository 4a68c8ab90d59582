# A job that does nothing, for Sidekiq: `sidekiq -r ./sidekiq_job.rb -c 10`. As its documentation advises: ten threads, and (from the
# environment) REDIS_URL and MALLOC_ARENA_MAX=2. What its own load test (bin/sidekiqload) sets is set here too: only errors are logged.
require "sidekiq"

# Debian pairs this Sidekiq with a newer redis-rb, which would otherwise print a warning at each fetch.
Redis.silence_deprecations = true

Sidekiq.configure_server do |config|
  config.redis = {url: ENV.fetch("REDIS_URL"), driver: :hiredis}
  config.logger.level = Logger::ERROR
end

class Nothing
  include Sidekiq::Worker

  def perform(payload)
  end
end
