// vmactl add: queue archives. With --announced, as vzdump's hook calls it, the daemon may be away.

#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "api/queue_interface.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_inspection.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/text/printable_text.hpp"
#include "queue/incoming.hpp"
#include "settings/settings.hpp"
#include "varlink/protocol.hpp"

namespace vmad::ctl {
namespace {

class AddCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", words_, "Paths or Proxmox volume IDs (local:backup/...)").required();
        const auto announced = arguments.flag("--announced", announced_,
                                              "Do not wait until they are old enough, and save\n"
                                              "the request if the daemon is away (for hooks)");
        arguments
            .flag("--verify", verify_,
                  "Verify them instead of repacking them: read them\n"
                  "completely, and compare them with what was written")
            .excludes(announced);
        arguments.option("--storage", storage_, "Proxmox storage ID of the archives (for hooks)")
            .help_text("ID");
        arguments.footer("Returns once the jobs are durably queued. Use \"vmactl wait\" to wait for them.");
    }

    ExitCode run(Context& context) override {
        // Before anything is queued: one that is no archive stops the whole command.
        std::vector<api::EnqueueCall> calls;
        const auto code = collect(context, calls);
        if (code != ExitCode::done) return code;
        return announced_ ? announce(context, calls) : add(context, calls);
    }

  private:
    /// Of the daemon's answer to a hook, in which a backup waits.
    static constexpr std::chrono::milliseconds kAnnounceLimit = std::chrono::seconds(2);

    [[nodiscard]] ExitCode add(Context& context, const std::vector<api::EnqueueCall>& calls) const {
        auto code = ExitCode::done;
        auto daemon = context.daemon();
        for (const auto& call : calls) {
            std::optional<api::EnqueueReply> reply;
            try {
                reply = daemon.enqueue(call);
            } catch (const varlink::RemoteError&) {
                code = worse(code, report_failure(context.console, call.path));
            }
            if (reply) print(context, *reply);
        }
        return code;
    }

    /// Reports each word that is no archive; the code is the worst of them.
    [[nodiscard]] ExitCode collect(Context& context, std::vector<api::EnqueueCall>& calls) const {
        auto code = ExitCode::done;
        for (const auto& word : words_) {
            try {
                auto name = archive_name(context.fs, context.console, word);
                if (!storage_.empty()) name.storage = storage_;
                calls.push_back({.path = absolute_path(name.path),
                                 .announced = announced_,
                                 .storage = name.storage,
                                 .kind = verify_ ? api::JobKind::verify : api::JobKind::repack});
                // vzdump has just made it, and its hook must not wait for a storage.
                if (!announced_) require_archive(context.fs, calls.back().path);
            } catch (const base::Error&) {
                code = worse(code, report_failure(context.console, word));
            }
        }
        if (code != ExitCode::done && words_.size() > 1) context.console.message("nothing was queued");
        return code;
    }

    [[nodiscard]] ExitCode announce(Context& context, const std::vector<api::EnqueueCall>& calls) const {
        auto code = ExitCode::done;
        for (const auto& call : calls) {
            try {
                announce(context, call);
            } catch (const base::Error&) {
                code = worse(code, report_failure(context.console, call.path));
            }
        }
        return code;
    }

    /// Throws varlink::RemoteError for what the daemon refuses, and base::Error when the request can be left
    /// to nobody.
    void announce(Context& context, const api::EnqueueCall& call) const {
        std::string why = "daemon not responding";
        try {
            return print(context, enqueue_in_time(context, call));
        } catch (const varlink::RemoteError& error) {
            if (error.name() == api::kPathRefusedError) throw;
            why = current_failure().message;
        } catch (const varlink::Unreachable&) {
        } catch (const varlink::TimedOut&) {
        } catch (const varlink::Disconnected&) {
        } catch (const base::Error& error) {
            why = error.what();
        }
        leave(context, call.path, why);
    }

    api::EnqueueReply enqueue_in_time(Context& context, const api::EnqueueCall& call) const {
        using Clock = std::chrono::steady_clock;
        const auto end = Clock::now() + kAnnounceLimit;
        auto daemon = context.daemon(kAnnounceLimit);
        daemon.set_limit(std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()));
        return daemon.enqueue(call);
    }

    void leave(Context& context, const std::string& path, const std::string& why) const {
        std::string directory;
        try {
            directory = queue::leave_request(context.fs, settings::Places().state_dir(), path);
        } catch (const base::Error& error) {
            throw base::Error(fmt::format("{}; cannot save the request: {}", why, error.what()));
        }
        if (context.options.json)
            return context.console.print_json({{"path", path}, {"saved_in", directory}, {"reason", why}});
        context.console.print(printable(fmt::format("vmad: {}; request saved in {}", why, directory)) + "\n");
    }

    void print(Context& context, const api::EnqueueReply& reply) const {
        if (context.options.json) return context.console.print_json(reply);
        const auto* what = reply.created ? "queued" : "already queued";
        // Of one, everybody knows which it is.
        const auto which = words_.size() > 1 ? ": " + printable(reply.job.path) : "";
        context.console.print(fmt::format("vmad: {} as job {}{}\n", what, reply.job.id, which));
    }

    std::vector<std::string> words_;
    std::string storage_;
    bool announced_ = false;
    bool verify_ = false;
};

}  // namespace

std::unique_ptr<Command> make_add_command() { return std::make_unique<AddCommand>(); }

}  // namespace vmad::ctl
