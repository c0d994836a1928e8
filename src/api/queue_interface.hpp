// The names of org.vmad.Queue, and the text of its description.
#pragma once

#include <string_view>

namespace vmad::api {

/// org.vmad.Queue.varlink, word for word.
[[nodiscard]] std::string_view queue_interface_description() noexcept;

inline constexpr char kQueueInterface[] = "org.vmad.Queue";

inline constexpr char kEnqueueMethod[] = "org.vmad.Queue.Enqueue";
inline constexpr char kListMethod[] = "org.vmad.Queue.List";
inline constexpr char kShowMethod[] = "org.vmad.Queue.Show";
inline constexpr char kStatusMethod[] = "org.vmad.Queue.Status";
inline constexpr char kWaitMethod[] = "org.vmad.Queue.Wait";
inline constexpr char kMonitorMethod[] = "org.vmad.Queue.Monitor";
inline constexpr char kCancelMethod[] = "org.vmad.Queue.Cancel";
inline constexpr char kRetryMethod[] = "org.vmad.Queue.Retry";
inline constexpr char kPauseMethod[] = "org.vmad.Queue.Pause";
inline constexpr char kResumeMethod[] = "org.vmad.Queue.Resume";
inline constexpr char kReloadMethod[] = "org.vmad.Queue.Reload";
inline constexpr char kArchivesMethod[] = "org.vmad.Queue.Archives";
inline constexpr char kGuestsMethod[] = "org.vmad.Queue.Guests";
inline constexpr char kForgetMethod[] = "org.vmad.Queue.Forget";

inline constexpr char kNoSuchJobError[] = "org.vmad.Queue.NoSuchJob";
inline constexpr char kNoSuchPathError[] = "org.vmad.Queue.NoSuchPath";
inline constexpr char kPathRefusedError[] = "org.vmad.Queue.PathRefused";
inline constexpr char kJobHasEndedError[] = "org.vmad.Queue.JobHasEnded";
inline constexpr char kInvalidSettingsError[] = "org.vmad.Queue.InvalidSettings";
inline constexpr char kFailedError[] = "org.vmad.Queue.Failed";

}  // namespace vmad::api
