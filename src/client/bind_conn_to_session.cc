#include "client/bind_conn_to_session.h"

namespace perdure::client {

Outcome<Direction> bind_conn_to_session(ClientState& cs, Run& run, const SessionId& id,
                                        ConnectionId connection, uint32_t direction) {
  constexpr uint32_t fore = 1, back = 2, fore_or_both = 3, back_or_both = 7;  // channel_dir_from_client4
  if (direction != fore && direction != back && direction != fore_or_both && direction != back_or_both)
    return Status::invalid_argument;
  const SessionNumber number = TRY(cs.find_session(run, id)).number;
  const Direction granted = direction == fore   ? Direction::fore
                            : direction == back ? Direction::back
                                                : Direction::both;
  run.on_commit([&cs, number, connection, granted] {
    cs.bind_connection(number, connection, granted != Direction::back, granted != Direction::fore);
  });
  return granted;
}

Outcome<void> backchannel_ctl(ClientState& cs, Run& run, SessionNumber session, uint32_t program,
                              Bytes security) {
  const SessionRow* row = TRY(cs.sessions.get(run, {session}));
  if (row == nullptr) return Status::bad_session;
  SessionRow changed = *row;
  changed.callback_program = program;
  changed.callback_security.assign(security.begin(), security.end());
  cs.sessions.put(run, {session}, std::move(changed));
  return {};
}

}  // namespace perdure::client
