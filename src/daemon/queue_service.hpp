// The daemon: the queue, the runner of its jobs, and org.vmad.Queue on the socket.
//
// Takes what clients and the hook ask for to the queue, and carries what happens to jobs to all who want to
// know: waiting clients, the journal, metrics, the administrator's commands. One thread, that of the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/queue_calls.hpp"
#include "api/status.hpp"
#include "daemon/alarm.hpp"
#include "daemon/command_runner.hpp"
#include "daemon/job_runner.hpp"
#include "daemon/listings.hpp"
#include "daemon/metrics.hpp"
#include "daemon/service_manager.hpp"
#include "daemon/subscriptions.hpp"
#include "queue/catalogue.hpp"
#include "queue/queue.hpp"
#include "queue/spool.hpp"
#include "settings/settings.hpp"
#include "varlink/server.hpp"

namespace vmad::daemon {

class QueueService {
  public:
    /// Reads the settings anew. Throws base::UsageError when they are not valid.
    using LoadSettings = std::function<settings::LoadedSettings()>;

    /// Loads the queue, then serves `listening` and runs jobs while `event` runs. `fs` and `spool` outlive
    /// this object. Throws base::Error when the state directory cannot be used.
    QueueService(sd_event* event, io::FileSystem& fs, settings::Settings settings, LoadSettings load_settings,
                 queue::Spool& spool, base::UniqueFd listening);
    QueueService(const QueueService&) = delete;
    QueueService& operator=(const QueueService&) = delete;
    ~QueueService();

    /// Takes the settings anew, for jobs that start from now on, and logs and returns what is odd about them.
    /// Throws base::UsageError, and nothing has changed then, when they are not valid.
    std::vector<std::string> reload();

    /// Starts no more jobs, stops the running ones, which are queued again, and then ends the event loop.
    void stop();

  private:
    static int on_incoming(sd_event_source*, const struct inotify_event*, void* self) noexcept;

    // The methods of org.vmad.Queue.
    [[nodiscard]] varlink::Interface queue_interface();
    [[nodiscard]] api::EnqueueReply enqueue(const api::EnqueueCall& call);
    [[nodiscard]] api::Job show(const api::JobCall& call) const;
    [[nodiscard]] api::Status status() const;
    void list(varlink::Request& request);
    void list_archives(varlink::Request& request);
    void list_guests(varlink::Request& request);
    [[nodiscard]] api::ForgetReply forget(const api::ForgetCall& call);
    void wait(varlink::Request& request);
    [[nodiscard]] api::Job cancel(std::uint64_t id);
    [[nodiscard]] api::Job retry(std::uint64_t id);
    void pause(bool now);
    void resume();

    void take_incoming();
    void forget_old_jobs();
    /// The next time that one is too old, but not before `earliest`.
    void look_at_old_jobs_at(std::int64_t earliest);
    void changed(const api::Job& job);
    void update_status_line();
    [[nodiscard]] std::optional<std::string> refusal_of(const std::string& path) const;
    [[nodiscard]] const api::Job& require(std::uint64_t id) const;

    io::FileSystem& fs_;
    settings::Settings settings_;
    LoadSettings load_settings_;
    std::int64_t started_at_;
    queue::Spool& spool_;
    queue::Queue queue_;
    queue::Catalogue catalogue_;
    Subscriptions subscriptions_;
    CommandRunner commands_;
    MetricsFile metrics_;
    Alarm incoming_again_;
    Alarm retention_;
    StatusLine status_line_;
    JobRunner runner_;
    Listings listings_;
    varlink::EventSource incoming_;
    varlink::Server server_;  ///< last: it may call the rest until it is gone
};

}  // namespace vmad::daemon
