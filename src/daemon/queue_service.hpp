// The daemon: the queue, its workers, and org.vmad.Queue on the socket.
//
// Decides nothing about archives and never touches their storage: the queue says what is to be done
// (queue/schedule), worker processes do it, and this puts one after the other. One thread, that of the loop.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "api/queue_calls.hpp"
#include "api/status.hpp"
#include "daemon/mount_watch.hpp"
#include "daemon/worker_process.hpp"
#include "queue/queue.hpp"
#include "queue/schedule.hpp"
#include "queue/spool.hpp"
#include "settings/settings.hpp"
#include "varlink/server.hpp"

namespace vmad::daemon {

class QueueService {
  public:
    /// Loads the queue, then serves `listening` and runs jobs while `event` runs. `fs` and `spool` outlive
    /// this object. Throws base::Error when the state directory cannot be used.
    QueueService(sd_event* event, io::FileSystem& fs, settings::Settings settings, queue::Spool& spool,
                 base::UniqueFd listening);
    QueueService(const QueueService&) = delete;
    QueueService& operator=(const QueueService&) = delete;

    /// Starts no more jobs, stops the running ones, which are queued again, and then ends the event loop.
    void stop();

  private:
    /// A client that waits for jobs to end.
    struct Waiter {
        varlink::Request request;
        std::set<std::uint64_t> ids;  ///< not answered yet
    };
    /// How a worker ended, as far as the queue does not know yet.
    struct RunEnd {
        std::optional<api::WorkerResult> result;
        std::string how;
    };

    static int on_timer(sd_event_source*, std::uint64_t, void* self) noexcept;
    static int on_incoming(sd_event_source*, const struct inotify_event*, void* self) noexcept;

    // The methods of org.vmad.Queue.
    [[nodiscard]] varlink::Interface queue_interface();
    [[nodiscard]] api::EnqueueReply enqueue(const api::EnqueueCall& call);
    void list(varlink::Request& request);
    [[nodiscard]] api::Job show(const api::ShowCall& call) const;
    [[nodiscard]] api::Status status() const;
    void wait(varlink::Request& request);

    // Jobs on their way.
    void take_incoming();
    void run_what_can_run();
    void start(std::uint64_t id);
    void keep_record(std::uint64_t id, const nlohmann::json& record);
    void worker_ended(std::uint64_t id, RunEnd end);
    /// Tells the queue of runs that ended; those that it cannot write stay for the next time.
    void settle_run_ends();
    void changed(const api::Job& job);
    void answer_waiters(const api::Job& ended);
    void wake_at(std::int64_t time);

    [[nodiscard]] std::optional<std::string> refusal_of(const std::string& path) const;
    [[nodiscard]] api::Job with_progress(const api::Job& job) const;
    void tell_service_manager() const;

    sd_event* event_;
    io::FileSystem& fs_;
    settings::Settings settings_;
    std::int64_t started_at_;
    queue::Spool& spool_;
    queue::Queue queue_;
    MountWatch mounts_;
    queue::Schedule schedule_;
    std::map<std::uint64_t, std::unique_ptr<WorkerProcess>> workers_;  ///< by job id
    std::map<std::uint64_t, api::JobProgress> progress_;
    std::map<std::uint64_t, RunEnd> run_ends_;
    std::list<Waiter> waiters_;
    varlink::EventSource timer_;
    varlink::EventSource incoming_;
    bool stopping_ = false;
    varlink::Server server_;  ///< last: it may call the rest until it is gone
};

}  // namespace vmad::daemon
